"""Be the process that reads what an agent sends to a model: HTTP and JSON in, closed questions out.

`parsing` starts it with two descriptors, for messages and for connections. It holds no key, reaches no
network and cannot open the state folder; it ends when its runner does.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count
from typing import TYPE_CHECKING, Final

from agent_runner.gateway.asked import Asked, RefusedRequestError, too_large
from agent_runner.gateway.crossing import question_bytes, reply_of, step_of
from agent_runner.gateway.desk import Desk
from agent_runner.gateway.http import Serving
from agent_runner.gateway.wire import Asking, Begin, GivenUp, Refusal, Replied, to_parser
from sandbox.egress.confine import confine_without_network
from sandbox.egress.locked import run_locked
from sandbox.egress.streams import Streams
from sandbox.egress.wire import WireError, encoded, received

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Reply

_READ_BYTES: Final = 65536


class Runner:
    """The other end of the pipe: it asks the model; `desk.Asker`.

    Args:
        writer: Towards it.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = count(1)
        self._waiting: dict[int, tuple[asyncio.Future[Reply], Callable[[Step], None]]] = {}

    async def ask(self, asked: Asked, hear: Callable[[Step], None]) -> Reply:
        """Return the model's reply, once it is whole and each of its steps was heard.

        Raises:
            RefusedRequestError: When it gave none, or the question is larger than may cross.
        """
        question = _question(asked)
        number = next(self._numbers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer, hear
        try:
            self._writer.write(encoded(Asking(id=number), question))
            await self._writer.drain()
            return await answer
        except asyncio.CancelledError:
            self._writer.write(encoded(GivenUp(id=number)))
            raise
        finally:
            self._waiting.pop(number, None)

    def answered(self, head: bytes, blob: bytes) -> None:
        """Take in an answer; one that nobody waits for any more is dropped.

        Raises:
            WireError: When it is none.
        """
        message = to_parser(head)
        if isinstance(message, Begin):
            raise WireError("`begin` came twice")
        waiting, hear = self._waiting.get(message.id, (None, None))
        if waiting is None or hear is None or waiting.done():
            return
        match message:
            case Replied():
                waiting.set_result(reply_of(blob))
            case Refusal(status=status, code=code, message=words):
                waiting.set_exception(RefusedRequestError(words, status=status, code=code))
            case _:
                hear(step_of(message))


class Connections:
    """Serve the container's connections; `sandbox.egress.streams.Server`.

    Args:
        desk: Answers their requests.
    """

    def __init__(self, desk: Desk) -> None:
        self._serving = Serving(desk)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, action: str) -> None:  # noqa: ARG002 - the protocol's parameter
        """Serve one to its end, and close it."""

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            await self._serving(_pieces(reader), send, lambda: None)
        finally:
            writer.close()


def _question(asked: Asked) -> bytes:
    """Return a question as it crosses: what a request may hold is said before, and this is the last word."""
    try:
        return question_bytes(asked)
    except ValueError as error:  # pydantic's, of a bound or of what has no bytes
        raise too_large("the request does not fit into a question to a model") from error


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_READ_BYTES):
            yield data


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: socket.socket) -> None:
    first = await received(reader)
    if first is None:
        return
    begin = to_parser(first[0])
    if not isinstance(begin, Begin):
        raise WireError("the first message is not `begin`")
    runner = Runner(writer)
    Streams(streams, Connections(Desk(begin.models, runner))).listen()
    while (message := await received(reader)) is not None:
        runner.answered(*message)


def main(arguments: list[str]) -> int:
    """Run the process; return its exit code."""
    return run_locked(arguments, _serve, lock=confine_without_network, name="gateway")
