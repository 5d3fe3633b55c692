"""Measure what a session writes, and judge it; the caller asks every 250 ms, and freezes the session.

The kernel bounds no overlay's upper folder. Between two looks a program can write on: the overshoot is what
the disk takes in that time, and `StageLimits.reserve_bytes` keeps it from the ledger.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from sandbox.stage.beneath import Beneath
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from pathlib import Path

LOOK_EVERY_SECONDS: Final = 0.25
"""How often the session should ask (decided in the design of quotas)."""
_BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`, whatever the filesystem's own block is (stat(2))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLimits:
    """What a session may write; each is a whole number, and zero means nothing at all."""

    written_bytes: int
    """Most bytes in the upper folder: what each file takes on the disk, or its length if that is more."""
    written_files: int
    """Most paths in it, deletions and folders included."""
    reserve_bytes: int
    """Free space of the state disk that a session must not touch."""
    reserve_inodes: int = 1000
    """Free inodes of the state disk that a session must not touch, where the filesystem counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperUse:
    """What one look found."""

    written_bytes: int
    """Bytes in the upper folder, or more than the limit when the look stopped early."""
    written_files: int
    """Paths in it; the same."""
    free_bytes: int
    """Free space of the disk, for this user."""
    free_inodes: int
    """Free inodes; -1 where the filesystem does not count them."""
    seconds: float
    """How long the look took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A limit that was passed."""

    limit: str
    """Its name: a field of `StageLimits`."""
    allowed: int
    """The limit."""
    found: int
    """What was found instead."""

    @property
    def message(self) -> str:
        """Return one line for the agent and the ledger."""
        return f"the stage's limit `{self.limit}` is `{self.allowed}`, and `{self.found}` was found"


def judge(use: UpperUse, limits: StageLimits) -> tuple[Exceeded, ...]:
    """Return every limit that a look found passed; pure."""
    passed = []
    if use.written_bytes > limits.written_bytes:
        passed.append(("written_bytes", limits.written_bytes, use.written_bytes))
    if use.written_files > limits.written_files:
        passed.append(("written_files", limits.written_files, use.written_files))
    if use.free_bytes < limits.reserve_bytes:
        passed.append(("reserve_bytes", limits.reserve_bytes, use.free_bytes))
    if 0 <= use.free_inodes < limits.reserve_inodes:
        passed.append(("reserve_inodes", limits.reserve_inodes, use.free_inodes))
    return tuple(Exceeded(limit=name, allowed=allowed, found=found) for name, allowed, found in passed)


def free_room(folder: Path) -> tuple[int, int]:
    """Return free bytes and inodes of a disk, for this user; -1 for inodes that nobody counts."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else -1


def judge_room(folder: Path, limits: StageLimits) -> tuple[Exceeded, ...]:
    """Return every reserve of a folder's disk that is touched; quick, for nothing is walked."""
    free_bytes, free_inodes = free_room(folder)
    use = UpperUse(
        written_bytes=0, written_files=0, free_bytes=free_bytes, free_inodes=free_inodes, seconds=0.0
    )
    return judge(use, limits)


@dataclass(frozen=True, slots=True)
class UpperWatch:
    """Looks at one upper folder."""

    upper: Path
    limits: StageLimits

    def look(self) -> UpperUse:
        """Measure once; a tree beyond the limits is not walked to its end, so a look stays short.

        Raises:
            PathRefusedError: When the upper folder is gone.
        """
        begun = time.monotonic()
        free_bytes, free_inodes = free_room(self.upper)
        files, size = self._walk()
        return UpperUse(
            written_bytes=size,
            written_files=files,
            free_bytes=free_bytes,
            free_inodes=free_inodes,
            seconds=time.monotonic() - begun,
        )

    def exceeded(self) -> tuple[Exceeded, ...]:
        """Look, and return every limit that is passed."""
        return judge(self.look(), self.limits)

    def _walk(self) -> tuple[int, int]:
        """Return paths and bytes, each hard-linked file once."""
        files = size = 0
        linked: set[int] = set()
        with Beneath.open(self.upper) as tree:
            pending = [""]
            while pending and files <= self.limits.written_files and size <= self.limits.written_bytes:
                path = pending.pop()
                for name, status in _listing(tree, path, self.limits.written_files + 1 - files):
                    files += 1
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(f"{path}/{name}" if path else name)
                    if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode) or status.st_ino not in linked:
                        size += max(status.st_blocks * _BLOCK_BYTES, _length(status))
                    linked.add(status.st_ino)
        return files, size


def _length(status: os.stat_result) -> int:
    """Return a file's length: a sparse file takes no room here, and all of it once it is applied."""
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _listing(tree: Beneath, path: str, most: int) -> list[tuple[str, os.stat_result]]:
    """List at most `most` entries of a folder that an agent may be changing; what vanishes is left out."""
    found = []
    try:
        with tree.folder(path) as descriptor, os.scandir(descriptor) as entries:
            for entry in islice(entries, most):
                try:
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
                except OSError:
                    continue
    except PathRefusedError:
        return []
    return found
