"""Measure what a session writes, and judge it; the caller asks every 250 ms, and freezes the session.

The kernel bounds no overlay's upper folder. Between two looks a program can write on: the overshoot is what
the disk takes in that time, and `StageLimits.reserve_bytes` keeps it from the ledger.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from sandbox.stage.beneath import Beneath
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from pathlib import Path

LOOK_EVERY_SECONDS: Final = 0.25
"""How often the session should ask (decided in the design of quotas)."""
_TRIES: Final = 3
"""A folder may be removed and made anew between two calls; one that cannot be listed so often, cannot be."""
_BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`, whatever the filesystem's own block is (stat(2))."""


class _UnlistedError(Exception):
    """Raised when a folder of the upper folder is there and cannot be listed."""


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
    unlisted_folders: int = 0
    """Most folders in the upper folder that the host cannot list: what is below them cannot be measured."""


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
    unlisted_folders: int = 0
    """Folders that could not be listed, such as one of mode 0300; the look stops at the first."""


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
        if self.limit == "unlisted_folders":
            return "the session made a folder that the host cannot list, so what it writes cannot be bounded"
        return f"the stage's limit `{self.limit}` is `{self.allowed}`, and `{self.found}` was found"

    @property
    def hint(self) -> str:
        """Return what mends it."""
        if self.limit == "unlisted_folders":
            return "keep folders readable for their owner, and at most 256 deep"
        return "raise `files: limits:`, or free some room for the state folder"


def judge(use: UpperUse, limits: StageLimits) -> tuple[Exceeded, ...]:
    """Return every limit that a look found passed; pure."""
    passed = []
    if use.written_bytes > limits.written_bytes:
        passed.append(("written_bytes", limits.written_bytes, use.written_bytes))
    if use.written_files > limits.written_files:
        passed.append(("written_files", limits.written_files, use.written_files))
    if use.unlisted_folders > limits.unlisted_folders:
        passed.append(("unlisted_folders", limits.unlisted_folders, use.unlisted_folders))
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
        files, size, unlisted = self._walk()
        return UpperUse(
            written_bytes=size,
            written_files=files,
            free_bytes=free_bytes,
            free_inodes=free_inodes,
            seconds=time.monotonic() - begun,
            unlisted_folders=unlisted,
        )

    def exceeded(self) -> tuple[Exceeded, ...]:
        """Look, and return every limit that is passed."""
        return judge(self.look(), self.limits)

    def _walk(self) -> tuple[int, int, int]:
        """Return paths, bytes (each hard-linked file once) and folders that could not be listed."""
        files = size = 0
        linked: set[int] = set()
        try:
            with Beneath.open(self.upper) as tree:
                pending = [""]
                while pending and files <= self.limits.written_files and size <= self.limits.written_bytes:
                    path = pending.pop()
                    for name, status in _listing(tree, path, self.limits.written_files + 1 - files):
                        files += 1
                        is_folder = stat.S_ISDIR(status.st_mode)
                        if is_folder:
                            pending.append(f"{path}/{name}" if path else name)
                        if status.st_nlink == 1 or is_folder or status.st_ino not in linked:
                            size += max(status.st_blocks * _BLOCK_BYTES, _length(status))
                        linked.add(status.st_ino)
        except _UnlistedError:
            return files, size, 1
        except PathRefusedError as error:
            if isinstance(error.__cause__, PermissionError):  # the upper folder's own mode, set by the agent
                return files, size, 1
            raise
        return files, size, 0


def _length(status: os.stat_result) -> int:
    """Return a file's length: a sparse file takes no room here, and all of it once it is applied."""
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _listing(tree: Beneath, path: str, most: int) -> list[tuple[str, os.stat_result]]:
    """List at most `most` entries of a folder that an agent may be changing; what vanishes is left out.

    Only a folder that is gone is empty. One that stands there and cannot be listed may hold anything: where
    the runner and the agent share a uid, mode 0300 lets the agent make files that the host does not see.

    Raises:
        _UnlistedError: When it is there and cannot be listed.
    """
    for _ in range(_TRIES):
        try:
            return _entries(tree, path, most)
        except (PathRefusedError, OSError):
            if _is_gone(tree, path):
                return []
    raise _UnlistedError


def _entries(tree: Beneath, path: str, most: int) -> list[tuple[str, os.stat_result]]:
    found = []
    with tree.folder(path) as descriptor, os.scandir(descriptor) as entries:
        for entry in islice(entries, most):
            with suppress(FileNotFoundError):
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def _is_gone(tree: Beneath, path: str) -> bool:
    """Tell whether no folder stands at a path any more; one that cannot be looked at may stand there."""
    try:
        status = tree.stat(path)
    except PathRefusedError as error:  # a part of the path is a symlink by now: the folder was moved away
        cause = error.__cause__
        return isinstance(cause, OSError) and cause.errno == errno.ELOOP
    except OSError:
        return False
    return status is None or not stat.S_ISDIR(status.st_mode)
