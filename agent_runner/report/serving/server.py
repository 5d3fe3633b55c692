"""Serve HTTP on the loopback: h11 reads and writes the protocol, the doorman lets in, the desk answers.

Bounded: connections, the size of a request, the time that a client may take to ask and to listen.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11

from agent_runner.report.serving.answer import Answer, text
from agent_runner.report.serving.desk import Desk
from agent_runner.report.serving.doorman import Door, Request, refusal
from audit.escape import escape_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent_runner.report.gather import Pins

HOST: Final = "127.0.0.1"
MOST_CONNECTIONS: Final = 64
HEAD_BYTES: Final = 16 * 1024
ASK_SECONDS: Final = 10.0
LISTEN_SECONDS: Final = 30.0
READ_BYTES: Final = 4096
PIECE_BYTES: Final = 256 * 1024
"""Of an answer, for each of which a client has the time to listen."""


class ReportServer:
    """A server of reports, from `open` to `close`.

    Args:
        state: The state folder.
        pins: What ledgers are held against.
        say: Told in one line what went wrong that nobody foresaw.
    """

    def __init__(self, state: Path, pins: Pins, *, say: Callable[[str], None]) -> None:
        self._state = state
        self._pins = pins
        self._say = say
        self._server: asyncio.Server | None = None
        self._desk: Desk | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.door = Door(port=0)

    async def open(self, port: int) -> Door:
        """Listen.

        Args:
            port: Where; 0 takes a free one.

        Returns:
            Where it listens, and what lets in.

        Raises:
            OSError: When the port is taken.
        """
        self._server = await asyncio.start_server(self._connected, HOST, port, limit=HEAD_BYTES)
        self.door = Door(port=self._server.sockets[0].getsockname()[1])
        self._desk = Desk(self._state, self._pins, self.door)
        return self.door

    async def close(self) -> None:
        """Stop listening, and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._attended(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _attended(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._served(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # the client went away, was too slow, or spoke no HTTP: there is nobody to tell
        except asyncio.CancelledError:
            writer.transport.abort()  # the server ends: what a client has not taken by now is not waited for
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the server; it is told
            self._say(escape_line(f"pairlock: a fault of pairlock's own: {type(error).__name__}: {error}"))
        finally:
            await _closed(writer)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                request = await _asked(http, reader)
        except h11.RemoteProtocolError as error:
            await _answered(http, writer, text(HTTPStatus(error.error_status_hint), "not understood"))
            return
        if request is None:
            return
        answer = refusal(self.door, request)
        if answer is None and self._desk is not None:
            answer = await self._desk.answer(request)
        if answer is not None:
            await _answered(http, writer, answer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection; what a client does not take in time is dropped, or it would keep its place."""
    writer.close()
    try:
        async with asyncio.timeout(LISTEN_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.CancelledError):
        writer.transport.abort()


async def _asked(http: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    """Return what is asked for; None when the client goes away before it has asked."""
    while True:
        happened = http.next_event()
        if happened is h11.NEED_DATA:
            http.receive_data(await reader.read(READ_BYTES))
        elif isinstance(happened, h11.Request):
            headers = tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in happened.headers
            )
            return Request(
                method=happened.method.decode("latin-1"),
                target=happened.target.decode("latin-1"),
                headers=headers,
            )
        else:
            return None


async def _answered(http: h11.Connection, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Send an answer, whole or piece by piece, to a client that has to keep listening."""
    if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    response = h11.Response(status_code=answer.status, headers=answer.headers())
    await _sent(writer, http.send(response))
    async for piece in _pieces(answer):
        await _sent(writer, http.send(h11.Data(data=piece)))
    await _sent(writer, http.send(h11.EndOfMessage()))


async def _pieces(answer: Answer) -> AsyncIterator[bytes]:
    if answer.stream is None:
        for start in range(0, len(answer.body), PIECE_BYTES):
            yield answer.body[start : start + PIECE_BYTES]
        return
    async for piece in answer.stream:
        yield piece


async def _sent(writer: asyncio.StreamWriter, data: bytes | None) -> None:
    if data:
        writer.write(data)
        async with asyncio.timeout(LISTEN_SECONDS):  # `wait_for` may lose a cancellation at the drain's end
            await writer.drain()
