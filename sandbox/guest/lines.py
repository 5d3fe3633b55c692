"""Send a range of a file's lines, and say how many there are: a file of any size, in bounded memory."""

from __future__ import annotations

import os

from .arguments import Arguments
from .beneath import Beneath, shown
from .digest import Digest
from .files import open_file
from .refusal import from_os_error
from .task import CHUNK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object
    from .task import Task

MAX_LINE = 1 << 50
MAX_SENT_BYTES = 64 << 20
LOOKED_AT_BYTES = 8192
_BLOCK_BYTES = 1 << 20
_ARGUMENTS = frozenset({"path", "path_base64", "first", "last", "limit_bytes", "timeout_seconds"})


def lines(task: Task, beneath: Beneath) -> Object:
    """Send the lines from `first` to `last`, counted from 1; the hash is of the bytes that were sent."""
    arguments = Arguments(task.values, _ARGUMENTS)
    path = arguments.path()
    first = arguments.number("first", default=1, least=1, most=MAX_LINE)
    last = arguments.number("last", default=MAX_LINE, least=first, most=MAX_LINE)
    limit = arguments.number("limit_bytes", default=MAX_SENT_BYTES, least=1, most=MAX_SENT_BYTES)
    descriptor = open_file(beneath, path)
    try:
        total = os.fstat(descriptor).st_size
        if b"\0" in os.pread(descriptor, LOOKED_AT_BYTES, 0):
            return {"binary": True, "total_bytes": total}
        window = _Window(task, first, last, limit)
        while block := os.read(descriptor, _BLOCK_BYTES):
            window.take(block)
    except OSError as error:
        raise from_os_error(error, shown(path)) from error
    finally:
        os.close(descriptor)
    return {"binary": False, "total_bytes": total, **window.result()}


class _Window:
    """Counts the lines that go by and sends those that are wanted."""

    def __init__(self, task: Task, first: int, last: int, limit: int) -> None:
        self._task = task
        self._first = first
        self._last = last
        self._left = limit
        self._ended = 0
        self._open = False
        self._digest = Digest()
        self._bytes = 0
        self._cut = False

    def take(self, block: bytes) -> None:
        """Take the next part of the file."""
        count = block.count(b"\n")
        if self._ended < self._last and self._ended + count >= self._first - 1:
            start = _after(block, self._first - 1 - self._ended)
            self._send(
                block[start : _after(block, self._last - self._ended) if self._within(count) else None]
            )
        self._ended += count
        self._open = not block.endswith(b"\n")

    def _within(self, count: int) -> bool:
        return self._ended + count >= self._last

    def _send(self, data: bytes) -> None:
        kept = data[: self._left]
        self._cut = self._cut or len(kept) < len(data)
        self._left -= len(kept)
        self._bytes += len(kept)
        self._digest.update(kept)
        for start in range(0, len(kept), CHUNK_BYTES):
            self._task.send_body(kept[start : start + CHUNK_BYTES])

    def result(self) -> Object:
        """Return what came of it."""
        return {
            "lines": self._ended + self._open,
            "bytes": self._bytes,
            "cut": self._cut,
            "sha256": self._digest.hexdigest(),
        }


def _after(block: bytes, count: int) -> int:
    """Return the place after so many line ends; 0 for none, the end where there are fewer."""
    place = 0
    for _ in range(count):
        found = block.find(b"\n", place)
        if found < 0:
            return len(block)
        place = found + 1
    return place
