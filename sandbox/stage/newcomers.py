"""Notice files that appear in the workspace while a session runs, and that it must not see.

The whiteouts of a stage cover what was there at the start. A hidden file or a socket that a program of the
user's makes later shows through, so the session asks here, and pauses when there is one. A folder's ctime
tells whether something was put into it, also where a program sets the mtime back (rsync, tar, cp -a): a look
costs one lstat for each, and lists only what changed.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from sandbox.stage.listing import AGAIN, listed, settled
from sandbox.stage.quota import LOOK_EVERY_SECONDS
from sandbox.stage.sides import at_or_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sandbox.stage.layout import PathMatcher

_VISIBLE: Final = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


@dataclass(slots=True)
class NewcomerWatch:
    """Watches one workspace for one session."""

    workspace: Path
    hide: PathMatcher
    absent: frozenset[str]
    """What the stage hides already."""
    folders: dict[str, int]
    """Folders that the session sees, and the ctime that each had when it was listed."""
    told: set[str] = field(default_factory=set)
    last_seconds: float = 0.0
    """How long the last look took."""

    @classmethod
    def start(
        cls, workspace: Path, *, hide: PathMatcher, absent: tuple[str, ...], folders: Mapping[str, int]
    ) -> Self:
        """Begin from what the scan before the start saw; what came between is found by the first look.

        Args:
            workspace: The user's folder.
            hide: What the session must not see.
            absent: What the stage hides already (`StageFacts.absent`).
            folders: What it sees of them, and the ctime that each had then (`StageFacts.folders`).
        """
        return cls(workspace, hide, frozenset(absent), dict(folders))

    def look(self) -> tuple[str, ...]:
        """Return what has appeared that must be hidden, each path once, sorted."""
        begun = time.monotonic()
        found: set[str] = set()
        pending = [path for path in self.folders if self._changed(path)]
        while pending:
            found.update(self._newcomers(pending.pop(), pending))
        fresh = found - self.told
        self.told |= fresh
        self.last_seconds = time.monotonic() - begun
        return tuple(sorted(fresh))

    @property
    def pause_seconds(self) -> float:
        """Return how long to wait before the next look, so that looks take a twentieth of the time."""
        return max(LOOK_EVERY_SECONDS, 20 * self.last_seconds)

    def _changed(self, path: str) -> bool:
        status = self._stat(path)
        return status is None or status.st_ctime_ns != self.folders[path]

    def _newcomers(self, folder: str, pending: list[str]) -> Iterator[str]:
        """Yield what must be hidden in one folder, and put new folders in it on `pending`."""
        status = self._stat(folder)
        if status is None or not stat.S_ISDIR(status.st_mode):
            self.folders.pop(folder, None)
            return
        self.folders[folder] = settled(status.st_ctime_ns)
        try:
            entries = listed(self.workspace / folder)
        except FileNotFoundError:
            return
        except OSError:  # nobody knows what it holds: as in the scan before the start
            yield folder
            return
        for entry in entries:
            yield from self._entry(f"{folder}/{entry.name}" if folder else entry.name, pending)

    def _entry(self, path: str, pending: list[str]) -> Iterator[str]:
        status = self._stat(path)
        if status is None or at_or_below(path, self.absent):
            return
        kind = stat.S_IFMT(status.st_mode)
        if self.hide.matches(path) or kind not in _VISIBLE:
            yield path
        elif kind == stat.S_IFDIR and path not in self.folders:
            self.folders[path] = AGAIN
            pending.append(path)

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            return os.lstat(f"{self.workspace}/{path}")  # thousands of times: text is three times as fast
        except OSError:
            return None
