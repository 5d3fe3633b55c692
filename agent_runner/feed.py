"""Stream a running session's ledger to those who subscribed to it, each at its own pace.

The ledger's file is the buffer: of each subscriber only a place in it is kept, and what its socket takes. So
one that reads slowly or never costs a bounded piece of memory, holds up nobody, and is let go in the end.
Nothing is verified here: who wants proof follows the files (`agent_runner.following`), which `attach` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final

import orjson

from audit.chain import LONGEST_LINE
from audit.errors import BrokenLedgerError
from audit.segments import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from audit.state import SessionFiles

VERSION: Final = 1
MOST_SUBSCRIBERS: Final = 64
SLOW_SECONDS: Final = 10.0
"""How long a subscriber may take to read what is on its way to it, before it is let go."""
POLL_SECONDS: Final = 0.05
"""How often the ledger is looked at while somebody has all that it holds."""
_LAST_SECONDS: Final = 1.0
"""How long subscribers may take to read a session's end."""
_PIECE_BYTES: Final = 2 * LONGEST_LINE
_NUMBER: Final = re.compile(rb'\{"seq":(\d{1,16}),')
_BEFORE: Final = b'{"version":%d,"entry":' % VERSION
_END: Final = orjson.dumps({"version": VERSION, "end": True}) + b"\n"


class Feed:
    """Serve the subscribers of one session.

    Args:
        files: The session's files; its log need not be there yet.
        slow_seconds: How long a subscriber may take to read what is on its way to it.
    """

    def __init__(self, files: SessionFiles, *, slow_seconds: float = SLOW_SECONDS) -> None:
        self._files = files
        self._slow_seconds = slow_seconds
        self._subscribers: dict[asyncio.Future[None], asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._is_over = False

    @property
    def is_full(self) -> bool:
        """Say whether no more subscribers are taken."""
        return self._is_over or len(self._subscribers) >= MOST_SUBSCRIBERS

    async def serve(self, first: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stream every entry from a number on, until the session ends or the subscriber goes.

        Args:
            first: The number of the first entry that is wanted.
            reader: Says that the subscriber has gone; it has nothing more to say.
            writer: Where the entries go.
        """
        writer.transport.set_write_buffer_limits(high=0)  # one piece at a time is on its way
        streaming = asyncio.ensure_future(self._streamed(first, writer))
        gone = asyncio.ensure_future(reader.read(1))
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscribers[over] = streaming
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait({streaming, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (streaming, gone):
                task.cancel()
            await asyncio.gather(streaming, gone, return_exceptions=True)
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # what it did not read is not waited for
            del self._subscribers[over]
            over.set_result(None)

    async def end(self) -> None:
        """Tell the subscribers what came last, and that it did; none of them is waited for long."""
        self._is_over = True
        self._ring()
        if self._looking is not None:
            self._looking.cancel()
        if not self._subscribers:
            return
        _, late = await asyncio.wait(set(self._subscribers), timeout=_LAST_SECONDS)
        for subscriber in late:
            self._subscribers[subscriber].cancel()
        if late:
            await asyncio.wait(late)

    def _ring(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _look(self) -> None:
        """Wake those who have all that there was, once there is more; one look for all of them."""
        segment, seen = 0, -1
        while True:
            if self._files.segment(segment + 1).exists():
                segment, seen = segment + 1, -1
            with contextlib.suppress(FileNotFoundError):
                size = self._files.segment(segment).stat().st_size
                if size != seen:
                    seen = size
                    self._ring()
            await asyncio.sleep(POLL_SECONDS)

    async def _streamed(self, first: int, writer: asyncio.StreamWriter) -> None:
        async for lines in self._pieces(first):
            writer.write(b"".join(b"%s%s}\n" % (_BEFORE, line) for line in lines))
            await self._taken(writer)
        writer.write(_END)
        await self._taken(writer)

    async def _taken(self, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._slow_seconds):
            await writer.drain()

    async def _pieces(self, first: int) -> AsyncIterator[list[bytes]]:
        """Yield the lines from a number on, a few at a time, as they come, until the session is over."""
        segment, offset = min((number for number, _ in self._files.segments()), default=0), 0
        while True:
            is_last, news = self._is_over, self._news  # taken first: what follows is the last, or older
            lines, offset = _lines(self._files.segment(segment), offset)
            if wanted := [line for line in lines if _number(line) >= first]:
                yield wanted
            if lines:
                await asyncio.sleep(0)  # the session's own turn
            elif self._files.segment(segment + 1).exists():
                segment, offset = segment + 1, 0
            elif is_last:
                return
            else:
                await news.wait()


def _lines(path: Path, offset: int) -> tuple[list[bytes], int]:
    """Return some whole lines of a file from an offset on, and where the next one begins."""
    try:
        with opened(path) as file:
            file.seek(offset)
            raw = file.read(_PIECE_BYTES)
    except BrokenLedgerError:  # not there yet
        return [], offset
    whole, newline, _ = raw.rpartition(b"\n")
    return whole.split(b"\n") if newline else [], offset + len(whole) + len(newline)


def _number(line: bytes) -> int:
    """Return the number that a line claims; -1 for one that claims none, which nobody wants."""
    claimed = _NUMBER.match(line)
    return int(claimed[1]) if claimed else -1
