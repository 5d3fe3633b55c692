"""Hand over bytes the moment they arrive, with no task that waits for them; no frames here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Take = Callable[[bytes], None]
    Made = Callable[[], asyncio.StreamReaderProtocol]

BUFFER_BYTES: Final = 1024 * 1024
_READ_BYTES: Final = 256 * 1024


class Inflow(asyncio.StreamReader):
    """A stream reader that can also pour: a task that awaits `read` costs each arrival a turn of the loop."""

    def __init__(self) -> None:
        super().__init__(limit=BUFFER_BYTES, loop=asyncio.get_running_loop())
        self._take: Take | None = None
        self._kept_bytes = 0
        self._over: asyncio.Future[None] | None = None

    async def pour(self, take: Take, *, read_bytes: int = 0) -> None:
        """Hand everything that comes to `take`, from within the loop's own reading, until the end.

        Args:
            take: returns at once, and bounds what it keeps: there is nothing that holds the sender back.
            read_bytes: how much of what came was read before.

        Raises:
            Exception: what `take` raised; nothing is handed to it any more.
            OSError: when the connection broke.
        """
        self._over = asyncio.get_running_loop().create_future()
        self._take = take  # what came before is all that is kept
        try:
            if self._kept_bytes > read_bytes:
                take(await self.readexactly(self._kept_bytes - read_bytes))
            if (broken := self.exception()) is not None:
                raise broken
            if not self.at_eof():
                await self._over
        finally:
            self._take = None

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # asyncio itself has bytes
        """Take bytes in; asyncio calls it."""
        if self._take is None or self._over is None:
            self._kept_bytes += len(data)
            super().feed_data(data)
        elif not self._over.done():
            try:
                self._take(data)
            except Exception as error:  # noqa: BLE001 (who waits for the end is told)
                self._finish(error)

    def feed_eof(self) -> None:
        """Take note of the end; asyncio calls it."""
        super().feed_eof()
        self._finish(None)

    def set_exception(self, exc: Exception) -> None:
        """Take note that the connection broke; asyncio calls it."""
        super().set_exception(exc)
        self._finish(exc)

    def _finish(self, error: Exception | None) -> None:
        if self._over is None or self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)


class Drawn:
    """Pour from a reader that somebody else made, and that can only be asked: a process's pipe.

    Args:
        reader: nobody else reads it.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def pour(self, take: Take) -> None:
        """Hand everything that comes to `take`, until the end."""
        while data := await self._reader.read(_READ_BYTES):
            take(data)


async def connected(
    connect: Callable[[Made], Awaitable[tuple[asyncio.Transport, object]]],
) -> tuple[Inflow, asyncio.StreamWriter]:
    """Return both ends of a new connection.

    Args:
        connect: one of the loop's own ways to make one, given what makes its protocol.

    Raises:
        OSError: when nothing answers.
    """
    reader = Inflow()
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await connect(lambda: protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
