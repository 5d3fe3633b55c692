"""Speak with an MCP server that is a program in a connector's container, over its stdin and stdout."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from agent_runner.mcp import peers
from cli_tools.connector import LARGEST_ANSWER_BYTES
from cli_tools.errors import ActionError
from sandbox.errors import AnswerTooLargeError, OperationFailedError
from sandbox.running import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.client._transport import TransportStreams

    from sandbox.guest.objects import Object
    from sandbox.session import Sandbox


@asynccontextmanager
async def program_streams(
    sandbox: Sandbox, argv: tuple[str, ...], *, asking_seconds: float
) -> AsyncIterator[TransportStreams]:
    """Start the program and yield its streams; at the end it is ended, with everything that it started.

    Args:
        sandbox: Where it runs.
        argv: The program and its arguments.
        asking_seconds: Until it is ended.

    Raises:
        ActionError: When it cannot be started, or says more than an answer may be.
    """
    heard, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, waiting = anyio.create_memory_object_stream[SessionMessage](0)
    arguments: Object = {
        "argv": list(argv),
        "cwd": ".",
        "env": {**ENVIRONMENT, **sandbox.way_out},
        "timeout_seconds": asking_seconds,
        "output_bytes": LARGEST_ANSWER_BYTES,
        "file_bytes": sandbox.limits.file_bytes,
        "open_files": sandbox.limits.open_files,
    }
    running = asyncio.ensure_future(_run(sandbox, arguments, waiting, heard))
    try:
        yield received, sent
    finally:
        running.cancel()
        result = await asyncio.gather(running, return_exceptions=True)
        for stream in (heard, received, sent, waiting):
            stream.close()
        if isinstance(result[0], ActionError):
            raise result[0]


async def _run(
    sandbox: Sandbox,
    arguments: Object,
    waiting: MemoryObjectReceiveStream[SessionMessage],
    heard: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    """Run it to its end; its end is the end of what is heard."""
    lines = _Lines(heard)
    try:
        await sandbox.link.call(
            "process.spawn",
            arguments,
            body=_written(waiting),
            on_body=lines.take,
            on_errors=lines.drop,
            limit_bytes=2 * LARGEST_ANSWER_BYTES,
        )
    except OperationFailedError as error:
        raise ActionError(error.code, error.reason) from error
    except AnswerTooLargeError as error:
        raise _too_long() from error
    finally:
        heard.close()


async def _written(waiting: MemoryObjectReceiveStream[SessionMessage]) -> AsyncIterator[bytes]:
    async for message in waiting:
        yield message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"


class _Lines:
    """Take a program's output apart: each line is a message; one that is none is told as such.

    Args:
        heard: Who hears them.
    """

    def __init__(self, heard: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        self._heard = heard
        self._rest = bytearray()
        self._messages = 0
        self._room_bytes = LARGEST_ANSWER_BYTES

    async def drop(self, piece: bytes) -> None:
        """Drop a piece, as of standard error: words for whoever runs it by hand, which take room too.

        Raises:
            ActionError: When it says more than a call needs.
        """
        self._room_bytes -= len(piece)
        if self._room_bytes <= 0:  # the guest passes no more on, of either, and waits for the program's end
            raise _too_long()

    async def take(self, piece: bytes) -> None:
        """Take a piece.

        Raises:
            ActionError: When it says more than a call needs.
        """
        await self.drop(piece)
        self._rest += piece
        if b"\n" not in piece:
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            self._messages += 1
            if self._messages > peers.MOST_MESSAGES:
                raise peers.too_many_messages()
            peers.require_parts(line)
            await self._heard.send(_message(line))


def _too_long() -> ActionError:
    return ActionError("too-large", f"it said {LARGEST_ANSWER_BYTES} bytes or more")


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error
