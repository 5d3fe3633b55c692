"""Name files as a CI's page does: relative to the folder that it checked out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """A folder that was checked out. No link is followed: a name is what a page links to."""

    root: Path
    """Absolute."""
    here: Path
    """What relative names start from, absolute."""

    def below(self, named: str) -> PurePosixPath | None:
        """Return a file's path below the root; None when it lies elsewhere, or is no file's name."""
        if not named or "\0" in named:
            return None
        place = self.absolute(named)
        return PurePosixPath(place.relative_to(self.root)) if place.is_relative_to(self.root) else None

    def absolute(self, named: str) -> Path:
        """Return a file's whole name, without `..`."""
        parts: list[str] = []
        for part in (self.here / named).parts:
            if part != "..":
                parts.append(part)
            elif len(parts) > 1:
                parts.pop()
        return Path(*parts)


def source_tree(environment: Mapping[str, str]) -> SourceTree:
    """Return the folder that the CI says it checked out, where this runs below it; else where this runs.

    Args:
        environment: The process's own; `GITHUB_WORKSPACE` and `CI_PROJECT_DIR` (GitLab) name the folder.
    """
    here = Path.cwd()
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        root = Path(environment.get(name) or "/nowhere")
        if root.is_absolute() and here.is_relative_to(root.resolve()):
            return SourceTree(root=root.resolve(), here=here)
    return SourceTree(root=here, here=here)
