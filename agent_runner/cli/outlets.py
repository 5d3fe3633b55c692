"""Write to stdout and stderr from a thread while a loop runs: whoever reads them may pause.

The sandbox of a session whose runner stands still ends itself. Terminals are written to as ever: what is
shown there is answered there, and an answer counts only behind what was shown.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

MOST_BYTES: Final = 64 * 1024 * 1024
"""So much may wait for its reader; whoever writes more waits, too."""
_PIECE_BYTES: Final = 64 * 1024


@contextmanager
def patient_outlets() -> Iterator[Pump]:
    """Have a thread write what is for stdout and stderr; at the end all is written that has a reader."""
    before = sys.stdout, sys.stderr
    pump = Pump()
    sys.stdout, sys.stderr = (pump.outlet_of(stream) for stream in before)
    try:
        yield pump
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):  # it was told of where it was written
                    stream.flush()
            pump.finish()
        finally:
            sys.stdout, sys.stderr = before


class Pump:
    """Write pieces in the order in which they came, whichever descriptor they are for."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._failed: dict[int, OSError | None] = {}
        self._is_over = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def outlet_of(self, stream: TextIO) -> TextIO:
        """Return what to write to in place of a stream; itself, where that is a terminal or no file."""
        try:
            descriptor = stream.fileno()
            if stream.isatty():
                return stream
            stream.flush()
        except (AttributeError, OSError, ValueError):
            return stream
        raw = _Outlet(self, descriptor)  # it takes all that it is given, as a buffer does
        return io.TextIOWrapper(raw, encoding=stream.encoding, errors=stream.errors, line_buffering=True)  # type: ignore[type-var]

    def take(self, descriptor: int, data: bytes) -> None:
        """Take in a piece.

        Raises:
            OSError: Once, when the descriptor takes no more; further pieces for it are lost.
        """
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, name="outlets", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._bytes < MOST_BYTES)
            if descriptor in self._failed:
                error, self._failed[descriptor] = self._failed[descriptor], None
                if error is not None:
                    raise error
                return
            self._waiting.append((descriptor, data))
            self._bytes += len(data)
            self._changed.notify_all()

    def finish(self, *, seconds: float | None = None) -> None:
        """Wait until all is written that has a reader.

        Args:
            seconds: For so long at the most; None for as long as its reader takes.
        """
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if not self._waiting:
                    return
                descriptor, data = self._waiting.popleft()
                is_lost = descriptor in self._failed
            try:
                if not is_lost:
                    _written(descriptor, data)
            except OSError as error:
                self._failed[descriptor] = error
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
    """A descriptor that is written by a pump.

    Args:
        pump: Writes.
        descriptor: Where.
    """

    def __init__(self, pump: Pump, descriptor: int) -> None:
        super().__init__()
        self._pump = pump
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
            OSError: As writing itself would, one piece later.
        """
        piece = bytes(data)
        self._pump.take(self._descriptor, piece)
        return len(piece)
