"""Speak the protocol over stdin and stdout, by threads that nobody waits for.

A client may be silent, or not read: the protocol's library would wait for it in a call that no signal ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from agent_runner.mcp.peers import LARGEST_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.client._transport import TransportStreams
    from mcp.types import JSONRPCMessage, RequestId

PIECE_BYTES: Final = 1024 * 1024
ANSWER_SECONDS: Final = 10.0
"""For what is still to be answered when the client has said all."""
LAST_WORDS_SECONDS: Final = 2.0
"""For what is still to be written when the server ends; a client that does not read then misses it."""


@asynccontextmanager
async def standard_streams(said_all: asyncio.Event) -> AsyncIterator[TransportStreams]:
    """Yield the streams of the one client that is on stdin and stdout; it ends when the client does.

    Args:
        said_all: Set at the end of stdin, while what was asked before is still being answered.
    """
    heard, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, waiting = anyio.create_memory_object_stream[SessionMessage](0)
    owed = _Owed()
    with _aside() as (source, sink):
        hearing = asyncio.create_task(_hear(source, owed, said_all, heard, sent.clone()))
        saying = asyncio.create_task(_say(sink, owed, waiting))
        saying.add_done_callback(lambda _: hearing.cancel())  # a client that cannot be answered has gone
        try:
            yield received, sent
        finally:
            sent.close()
            hearing.cancel()
            await asyncio.wait({saying}, timeout=LAST_WORDS_SECONDS)
            saying.cancel()
            await asyncio.gather(hearing, saying, return_exceptions=True)
            for stream in (heard, received, waiting):
                stream.close()


class _Owed:
    """The requests that wait for an answer: a client may close stdin once it has said all, and still read."""

    def __init__(self) -> None:
        self._ids: set[RequestId | None] = set()
        self._none = asyncio.Event()
        self._none.set()

    def heard(self, message: JSONRPCMessage) -> None:
        """Take note of a request, and of one that is taken back: the protocol's library never answers it."""
        if isinstance(message, JSONRPCRequest):
            self._ids.add(message.id)
            self._none.clear()
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settled((message.params or {}).get("requestId"))

    def said(self, message: JSONRPCMessage) -> None:
        """Take note of an answer."""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._settled(message.id)

    def _settled(self, number: object) -> None:
        self._ids -= {each for each in self._ids if each == number}  # what a client says may be no key
        if not self._ids:
            self._none.set()

    async def answered(self) -> None:
        """Wait until none is left, for a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), ANSWER_SECONDS)


async def _hear(
    source: int,
    owed: _Owed,
    said_all: asyncio.Event,
    heard: MemoryObjectSendStream[SessionMessage | Exception],
    refused: MemoryObjectSendStream[SessionMessage],
) -> None:
    with heard, refused:
        async for line in _lines(source):
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                await refused.send(SessionMessage(_refusal(line)))
            else:
                owed.heard(message)
                await heard.send(SessionMessage(message))
        said_all.set()
        await owed.answered()


async def _say(sink: int, owed: _Owed, waiting: MemoryObjectReceiveStream[SessionMessage]) -> None:
    async for message in waiting:
        await _written(sink, message.message.model_dump_json(by_alias=True, exclude_unset=True))
        owed.said(message.message)


async def _lines(source: int) -> AsyncIterator[bytes]:
    """Yield each line that is not empty, the last without its end too; of one too long, its beginning."""
    line = bytearray()
    while piece := await _apart(lambda: _read(source)):
        *ends, rest = piece.split(b"\n")
        for end in ends:
            line += end
            if line.strip():
                yield bytes(line)
            line.clear()
        line += rest[: max(0, LARGEST_MESSAGE_BYTES + 1 - len(line))]
    if line.strip():
        yield bytes(line)


def _refusal(line: bytes) -> JSONRPCError:
    """Return the answer to what is no message: it has no id that could be answered (JSON-RPC 2.0, 5)."""
    if len(line) > LARGEST_MESSAGE_BYTES:
        error = ErrorData(
            code=INVALID_REQUEST, message=f"a message is at most {LARGEST_MESSAGE_BYTES} bytes long"
        )
    elif line.lstrip().startswith(b"["):
        error = ErrorData(code=INVALID_REQUEST, message="send each message on a line of its own: no batches")
    else:
        error = ErrorData(code=PARSE_ERROR, message="this line is no message of JSON-RPC 2.0")
    return JSONRPCError(jsonrpc="2.0", id=None, error=error)


async def _written(sink: int, message: str) -> None:
    data = memoryview(message.encode() + b"\n")

    def write() -> bytes:
        done = 0
        while done < len(data):
            try:
                done += os.write(sink, data[done:])
            except BlockingIOError:
                _wait(sink, select.POLLOUT)
        return b""

    await _apart(write)


def _read(source: int) -> bytes:
    while True:
        try:
            return os.read(source, PIECE_BYTES)
        except BlockingIOError:
            _wait(source, select.POLLIN)


def _wait(descriptor: int, readiness: int) -> None:
    """Wait where another's setting has a descriptor not block: whoever shares it may rely on that."""
    waiting = select.poll()
    waiting.register(descriptor, readiness)
    waiting.poll()


async def _apart(work: Callable[[], bytes]) -> bytes:
    """Do what may never end in a thread of its own, which does not keep the process.

    Raises:
        OSError: As the work does.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def tell(result: bytes, error: OSError | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, failed = b"", None
        try:
            result = work()
        except OSError as error:
            failed = error
        with suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(tell, result, failed)

    threading.Thread(target=run, daemon=True).start()
    return await done


@contextmanager
def _aside() -> Iterator[tuple[int, int]]:
    """Move both descriptors away, so that no child and no stray line meets the client; they stay open."""
    source, sink = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3) for number in (0, 1))
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    try:
        yield source, sink
    finally:
        os.dup2(source, 0)
        os.dup2(sink, 1)
