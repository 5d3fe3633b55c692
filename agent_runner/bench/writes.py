"""Note and time what this process makes durable in some files, and make as much durable elsewhere."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from _typeshed import HasFileno

_LINES: Final = "sessions/*/*.jsonl"


@dataclass(frozen=True, slots=True)
class DurableWrite:
    """One append and its sync."""

    inode: int
    bytes_more: int
    """What the file had grown by since its last sync."""


class LedgerWrites:
    """Count the durable writes of one session's ledger where they are made.

    Args:
        state: The state folder; no other session writes there.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._sizes: dict[int, int] = {}
        self._now: list[DurableWrite] = []
        self._turns: list[list[DurableWrite]] = []
        self._timed: list[tuple[int, float]] = []
        self._inodes: set[int] = set()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note every sync of this process meanwhile."""
        real = os.fdatasync

        def noting(fd: int | HasFileno) -> None:
            real(fd)
            found = os.fstat(fd if isinstance(fd, int) else fd.fileno())
            before = self._sizes.get(found.st_ino, found.st_size)
            self._sizes[found.st_ino] = found.st_size
            self._now.append(DurableWrite(found.st_ino, found.st_size - before))

        os.fdatasync = noting
        try:
            yield
        finally:
            os.fdatasync = real

    def end_turn(self) -> None:
        """Begin another turn."""
        self._turns.append(self._now)
        self._now = []

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time every write and sync of this process meanwhile; whose they are is looked at later."""
        write, sync, self._inodes = os.write, os.fdatasync, self._found()

        def timed_write(fd: int, content: bytes) -> int:
            begin = time.perf_counter()
            written = write(fd, content)
            self._timed.append((fd, time.perf_counter() - begin))
            return written

        def timed_sync(fd: int) -> None:
            begin = time.perf_counter()
            sync(fd)
            self._timed.append((fd, time.perf_counter() - begin))

        os.write, os.fdatasync = timed_write, timed_sync  # type: ignore[assignment]  # called with these alone
        try:
            yield
        finally:
            os.write, os.fdatasync = write, sync

    def taken_ms(self) -> float:
        """Return the milliseconds that the ledger's own writes and syncs took since the last call."""
        timed, self._timed = self._timed, []
        return 1000 * sum(seconds for fd, seconds in timed if _inode(fd) in self._inodes)

    def forget(self) -> None:
        """Leave what was timed until now out."""
        self._timed.clear()

    def _found(self) -> set[int]:
        return {path.stat().st_ino for path in self._state.glob(_LINES)}

    def of_a_turn(self) -> tuple[DurableWrite, ...]:
        """Return what most turns made durable, in order: the same files, and how much in the last of them."""
        inodes = self._found()
        turns = [tuple(write for write in turn if write.inode in inodes) for turn in self._turns]
        patterns = Counter(tuple(write.inode for write in turn) for turn in turns)
        usual, _ = max(patterns.items(), key=lambda item: item[1])
        return next(turn for turn in reversed(turns) if tuple(write.inode for write in turn) == usual)


def _inode(fd: int) -> int:
    """Return the inode behind a descriptor; 0 where it is closed by now, as the ledger's own are not."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


@contextmanager
def floor_files(folder: Path, writes: Iterable[DurableWrite]) -> Iterator[list[tuple[int, bytes]]]:
    """Open a file of its own for each that was written, and give what is to be appended to which.

    Args:
        folder: A folder on the same disk.
        writes: The writes.
    """
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    opened: dict[int, int] = {}
    try:
        for write in writes:
            if write.inode not in opened:
                opened[write.inode] = os.open(folder / f"floor.{len(opened)}", flags, 0o600)
        yield [(opened[write.inode], b"x" * write.bytes_more) for write in writes]
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def make_durable(writes: Iterable[tuple[int, bytes]]) -> None:
    """Append to each file, and wait for the disk each time."""
    for descriptor, content in writes:
        os.write(descriptor, content)
        os.fdatasync(descriptor)
