"""Find what a protected name leads to: a symlink there gives what lies elsewhere a name that is protected."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from policies.glob_links import all_behind, behind, reaching
from policies.globs import GlobSet
from sandbox.stage.lastnames import LastNames
from sandbox.stage.symlinks import places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from policies.globs import Glob


@dataclass(frozen=True, slots=True)
class SecondNames:
    """What is protected because symlinks at, below or above protected names lead there."""

    paths: tuple[str, ...]
    """Every path of the workspace, and those that the agent made."""
    globs: tuple[Glob, ...]
    """What is protected, by its own name or another."""
    found: GlobSet
    """What is protected by another name."""
    _there: dict[frozenset[str], bool] = field(default_factory=dict)
    """Whether some globs mean something that is there, as far as it was asked."""

    @classmethod
    def of(
        cls, globs: tuple[Glob, ...], paths: Iterable[str], places: Callable[[str], Iterable[str]]
    ) -> Self:
        """Look at every path that could lead to what is protected.

        Args:
            globs: What is protected.
            paths: Every path that may be a symlink.
            places: Returns each place to which one leads; none for what is no symlink.
        """
        there = tuple(paths)

        def links(wanted: tuple[Glob, ...]) -> Iterator[tuple[str, Iterable[str]]]:
            for path in _with_names_of(reaching(wanted), there):
                if leads := tuple(places(path)):
                    yield path, leads

        found = all_behind(globs, links)
        return cls(there, (*globs, *found), GlobSet(found))

    def given_by(self, link: str, places: Iterable[str]) -> bool:
        """Tell whether a symlink gives something that is there a name that is protected."""
        there = tuple(places)
        given = {each.text: each for glob in self.globs for each in behind(glob, link, there)}
        texts = frozenset(given)
        if texts and texts not in self._there:
            wanted = GlobSet(given.values())
            self._there[texts] = any(wanted.find(path) for path in self.paths)
        return bool(texts) and self._there[texts]


def protected_behind(globs: tuple[Glob, ...], root: Path) -> tuple[Glob, ...]:
    """Return globs of what protected names of a folder lead to, in that folder.

    Args:
        globs: What is protected.
        root: The folder, resolved; its symlinks are looked for at any depth.
    """
    return SecondNames.of(globs, _symlinks(root), lambda path: places_of(root, path)).found.globs


def _symlinks(root: Path) -> Iterator[str]:
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:  # who starts a session walks it as well, and says so
            continue
        for entry in entries:
            if entry.is_symlink():
                yield prefix + entry.name
            elif entry.is_dir(follow_symlinks=False):
                pending.append((entry.path, f"{prefix}{entry.name}/"))


def _with_names_of(globs: tuple[Glob, ...], paths: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths that globs may mean, by the names in them."""
    suspects = LastNames.of(globs).among(tuple(set("/".join(paths).split("/"))))
    return (path for path in paths if not suspects.isdisjoint(path.split("/")))
