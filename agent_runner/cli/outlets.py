"""Write to stdout and stderr from threads while a loop runs: whoever reads them may pause.

The sandbox of a session whose runner stands still ends itself. Pipes and sockets alone have a reader that
pauses. Files are written to as ever, and so are terminals: what is shown there is answered there, and an
answer counts only behind what was shown.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

MOST_BYTES: Final = 64 * 1024 * 1024
"""So much may wait for one reader; whoever writes more waits, too, until a signal came."""
_PIECE_BYTES: Final = 64 * 1024


@contextmanager
def patient_outlets() -> Iterator[Outlets]:
    """Have threads write what is for stdout and stderr; at the end all is written that has a reader.

    Raises:
        OSError: When stdout took no more, nobody was told of it yet, and the block ended well.
    """
    before = sys.stdout, sys.stderr
    outlets = Outlets()
    sys.stdout, sys.stderr = patient = outlets.outlet_of(before[0]), outlets.outlet_of(before[1])
    try:
        yield outlets
    finally:
        try:
            outlets.finish()
        finally:
            sys.stdout, sys.stderr = before
    if patient[0] is not before[0] and (untold := outlets.untold(patient[0].fileno())):
        raise untold


class Outlets:
    """What is written to in place of pipes and sockets, each with a queue and a thread of its own."""

    def __init__(self) -> None:
        self._queues: dict[tuple[int, int], _Queue] = {}
        self._made: list[TextIO] = []

    def outlet_of(self, stream: TextIO) -> TextIO:
        """Return what to write to in place of a stream; itself, where that has no reader who may pause."""
        try:
            descriptor = stream.fileno()
            facts = os.fstat(descriptor)
            if not stat.S_ISFIFO(facts.st_mode) and not stat.S_ISSOCK(facts.st_mode):
                return stream
            stream.flush()
        except (AttributeError, OSError, ValueError):  # None, closed, or no file
            return stream
        # Two descriptors of one pipe share a queue: its reader sees the pieces in the order they came.
        queue = self._queues.setdefault((facts.st_dev, facts.st_ino), _Queue())
        raw = _Outlet(queue, descriptor)  # it takes all that it is given, as a buffer does
        made = io.TextIOWrapper(raw, encoding=stream.encoding, errors=stream.errors, line_buffering=True)  # type: ignore[type-var]
        self._made.append(made)
        return made

    def hurry(self) -> None:
        """Let nobody who writes wait for a reader any more, however much waits already."""
        for queue in self._queues.values():
            queue.hurry()

    def finish(self, *, seconds: float | None = None) -> None:
        """Wait until all is written that has a reader.

        Args:
            seconds: For so long at the most, for each reader; None for as long as it takes.
        """
        for queue in self._queues.values():
            queue.end()
        for stream in self._made:
            with suppress(OSError, ValueError):
                stream.flush()
        for queue in self._queues.values():
            queue.wait(seconds)

    def untold(self, descriptor: int) -> OSError | None:
        """Return why a descriptor took no more, where nobody who wrote was told."""
        return next(filter(None, (queue.failed.get(descriptor) for queue in self._queues.values())), None)


class _Queue:
    """Write pieces in the order in which they came, in a thread that ends with what waits, once it is to.

    Attributes:
        failed: Why descriptors take no more; None behind one whose writer was told.
    """

    def __init__(self) -> None:
        self.failed: dict[int, OSError | None] = {}
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._is_over = False
        self._is_hurried = False
        self._is_written_on = False
        self._changed = threading.Condition()

    def take(self, descriptor: int, data: bytes) -> None:
        """Take in a piece.

        Raises:
            OSError: Once, when the descriptor takes no more; further pieces for it are lost.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < MOST_BYTES or self._is_hurried)
            if descriptor in self.failed:
                if not self._is_over and (error := self.failed[descriptor]):
                    self.failed[descriptor] = None
                    raise error
                return
            self._waiting.append((descriptor, data))
            self._bytes += len(data)
            if not self._is_written_on:
                self._is_written_on = True
                threading.Thread(target=self._write_on, name="outlet", daemon=True).start()
            self._changed.notify_all()

    def hurry(self) -> None:
        """Let nobody wait in `take` any more."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()

    def end(self) -> None:
        """Tell of no failure from now on: what is still taken in are the last words."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def wait(self, seconds: float | None) -> None:
        """Return when all is written, or after so many seconds; behind `end`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_written_on, seconds)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if not self._waiting:
                    self._is_written_on = False
                    self._changed.notify_all()
                    return
                descriptor, data = self._waiting.popleft()
            if descriptor not in self.failed:
                try:
                    _written(descriptor, data)
                except OSError as error:
                    self.failed[descriptor] = error
            with self._changed:
                self._bytes -= len(data)
                self._changed.notify_all()


def _written(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left[:_PIECE_BYTES]) :]
        except BlockingIOError:  # whoever shares it may have set it so
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


class _Outlet(io.RawIOBase):
    """A descriptor that a queue writes to.

    Args:
        queue: Writes.
        descriptor: Where.
    """

    def __init__(self, queue: _Queue, descriptor: int) -> None:
        super().__init__()
        self._queue = queue
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor, which stays whoever's it was."""
        return self._descriptor

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Take all of it.

        Raises:
            OSError: As writing itself would, a piece or more later.
        """
        piece = bytes(data)
        self._queue.take(self._descriptor, piece)
        return len(piece)
