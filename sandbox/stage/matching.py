"""Turn what a policy says of paths into the matchers that the stage asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from policies.errors import BadValueError
from policies.globs import Glob, GlobSet
from policies.package_data import default_globs, kept_globs
from policies.wording import quoted
from sandbox.stage.lastnames import LastNames
from sandbox.stage.sides import at_or_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from policies.files_block import FilesBlock


@dataclass(frozen=True, slots=True)
class HiddenBy:
    """What a policy hides, its defaults and exceptions included."""

    files: FilesBlock

    def matches(self, path: str) -> bool:
        """Tell whether the policy hides `path`."""
        return self.files.hidden_by(path) is not None

    def reason(self, path: str) -> str:
        """Say by which glob the policy hides `path`, and how it would not."""
        glob = self.files.hidden_by(path)
        if glob is None:
            return ""
        if self.files.hides(glob):
            return f"by {quoted(glob.text)}: remove that from `hide`"
        return f"by the default {quoted(glob.text)}: name it in `files.visible`"

    def suspects(self) -> Callable[[Sequence[str]], frozenset[str]]:
        """Return the quick test of `WalkMatcher`; exceptions are not looked at."""
        defaults = default_globs("hide").globs if self.files.hide_defaults else ()
        return LastNames.of((*self.files.hide, *defaults)).among


@dataclass(frozen=True, slots=True)
class ProtectedBy:
    """What a policy protects, its defaults included."""

    files: FilesBlock

    def matches(self, path: str) -> bool:
        """Tell whether the policy protects `path`."""
        return self.files.protected_by(path) is not None

    def patterns(self) -> tuple[Glob, ...]:
        """Return what the policy protects, its defaults included."""
        return self.files.protected_globs


@dataclass(frozen=True, slots=True)
class KeptBy:
    """What a policy protects from being removed, its defaults included."""

    files: FilesBlock

    def matches(self, path: str) -> bool:
        """Tell whether the policy keeps `path`."""
        return self.files.kept_by(path) is not None

    def patterns(self) -> tuple[Glob, ...]:
        """Return what the policy keeps, its defaults included."""
        return (*self.files.protect, *(kept_globs().globs if self.files.protect_defaults else ()))


@dataclass(frozen=True, slots=True)
class Globs:
    """Patterns that a person gave, such as those of `apply --include`."""

    globs: GlobSet

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> Self:
        """Compile patterns.

        Raises:
            BadValueError: When a pattern has no meaning.
        """
        return cls(GlobSet(Glob.parse(pattern) for pattern in patterns))

    def matches(self, path: str) -> bool:
        """Tell whether one of the patterns covers `path`."""
        return self.globs.find(path) is not None

    def reason(self, path: str) -> str:
        """Say by which pattern."""
        found = self.globs.find(path)
        return f"by {quoted(found.text)}" if found else ""

    def patterns(self) -> tuple[Glob, ...]:
        """Return the patterns."""
        return self.globs.globs

    def suspects(self) -> Callable[[Sequence[str]], frozenset[str]]:
        """Return the quick test of `WalkMatcher`."""
        return LastNames.of(self.globs.globs).among


@dataclass(frozen=True, slots=True)
class ThesePaths:
    """Whole paths, letter by letter, without what lies below them."""

    paths: frozenset[str]

    def matches(self, path: str) -> bool:
        """Tell whether `path` is one of them."""
        return path in self.paths


@dataclass(frozen=True, slots=True)
class Named:
    """Paths that a person named: a change's own path or a folder's, letter by letter, else a pattern.

    A name that is there is never read as a pattern, so that `a[1].txt` can be named, and a file whose name an
    agent chose to look like another's is not named with it.
    """

    exact: frozenset[str]
    globs: Globs

    @classmethod
    def among(cls, words: Iterable[str], paths: Iterable[str]) -> Self:
        """Find what each word names.

        Args:
            words: What the person wrote, relative to the workspace.
            paths: Every path that there is to choose from.

        Raises:
            BadValueError: When a word names nothing, or is a pattern without a meaning.
        """
        there = tuple(paths)
        exact, patterns = set(), []
        for word in words:
            plain = _plain(word)
            if any(path == plain or path.startswith(plain + "/") for path in there):
                exact.add(plain)
                continue
            glob = Globs.parse((plain,))
            if not any(map(glob.matches, there)):
                raise BadValueError(
                    f"{quoted(word)} names no change", hint="paths are relative to the workspace's root"
                )
            patterns.append(plain)
        return cls(frozenset(exact), Globs.parse(patterns))

    def matches(self, path: str) -> bool:
        """Tell whether `path` was named, or lies in a folder that was."""
        return at_or_below(path, self.exact) or self.globs.matches(path)


def _plain(word: str) -> str:
    parts = [part for part in word.split("/") if part not in {"", "."}]
    return "/".join(parts) if not word.startswith("/") else word
