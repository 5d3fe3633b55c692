"""Attach to a container's stdio by our own hijacked connection, and undo the engine's stream framing.

The docker SDK's attach blocks a thread and buffers without bounds; this is asyncio over a unix socket, TLS,
or `ssh … docker system dial-stdio`. The engine wraps output in frames of 8 bytes (stream type, three zero
bytes, u32 length, big-endian): Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox.endpoint import connect
from sandbox.errors import EngineMissingError, EngineRefusedError
from sandbox.link_end import closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.endpoint import Endpoint, SshCall, Streams
    from sandbox.inflow import Inflow

ATTACH_SECONDS: Final = 60
ERRORS_KEPT_BYTES: Final = 4096
_STDERR: Final = 2
_HEADER_BYTES: Final = 8


class StdioReader:
    """Pour stdout out of the engine's framing; stderr is kept aside, bounded.

    Args:
        raw: the connection.
    """

    def __init__(self, raw: Inflow) -> None:
        self._raw = raw
        self._header = b""  # of the next frame, as far as it has come
        self._is_errors = False
        self._remaining = 0
        self.read_bytes = 0
        """What of the connection was read before: the engine's answer to the attach request."""
        self.errors = b""

    async def pour(self, take: Callable[[bytes], None]) -> None:
        """Hand each piece of stdout to `take` as it comes, until the end."""
        with contextlib.suppress(ConnectionError):
            await self._raw.pour(lambda data: self._unframe(data, take), read_bytes=self.read_bytes)

    def _unframe(self, data: bytes, take: Callable[[bytes], None]) -> None:
        if self._header:
            data, self._header = self._header + data, b""
        at = 0
        while at < len(data):
            if self._remaining == 0:
                if len(data) - at < _HEADER_BYTES:
                    self._header = data[at:]
                    return
                self._is_errors = data[at] == _STDERR
                self._remaining = int.from_bytes(data[at + 4 : at + _HEADER_BYTES])
                at += _HEADER_BYTES
                continue
            piece = data[at : at + self._remaining]
            at += len(piece)
            self._remaining -= len(piece)
            if self._is_errors:
                self.errors = (self.errors + piece)[-ERRORS_KEPT_BYTES:]
            else:
                take(piece)


class StdioAttachment:
    """Hold one hijacked connection; implements `sandbox.engine.Attachment`."""

    def __init__(self, streams: Streams, call: SshCall | None = None) -> None:
        self._reader = StdioReader(streams[0])
        self._writer = streams[1]
        self._call = call

    @property
    def reader(self) -> StdioReader:
        """Return the container's stdout."""
        return self._reader

    @property
    def writer(self) -> asyncio.StreamWriter:
        """Return the container's stdin."""
        return self._writer

    @property
    def errors(self) -> bytes:
        """Return the last bytes of the container's stderr."""
        return self._reader.errors

    async def close(self) -> str:
        """Close the connection, and with it the container's stdin; return the last words of an ssh."""
        await closed(self._writer)  # bounded: a TLS peer that is gone answers no goodbye
        call, self._call = self._call, None
        return await asyncio.to_thread(call.end) if call is not None else ""


async def attach(endpoint: Endpoint, api_version: str, container_id: str) -> StdioAttachment:
    """Attach to a container before it starts.

    Raises:
        EngineMissingError: When the engine does not answer.
        EngineRefusedError: When it does not switch protocols.
    """
    try:
        async with asyncio.timeout(ATTACH_SECONDS):
            streams, call = await connect(endpoint)
    except TimeoutError as error:
        raise EngineMissingError("the engine does not answer in time") from error
    except OSError as error:
        raise EngineMissingError(f"the engine does not answer: {error.strerror or error}") from error
    attachment = StdioAttachment(streams, call)
    try:
        async with asyncio.timeout(ATTACH_SECONDS):
            attachment.reader.read_bytes = await _switch(streams, api_version, container_id)
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        said = await attachment.close()
        why = said or ("it does not answer in time" if isinstance(error, TimeoutError) else "it hung up")
        raise EngineMissingError(f"no attaching to the engine: {why}") from error
    except BaseException:
        await attachment.close()
        raise
    return attachment


async def _switch(streams: Streams, api_version: str, container_id: str) -> int:
    """Ask for the container's streams in place of HTTP; return how long the answer was, in bytes."""
    reader, writer = streams
    query = "stream=1&stdin=1&stdout=1&stderr=1"
    writer.write(
        f"POST /v{api_version}/containers/{container_id}/attach?{query} HTTP/1.1\r\n"
        "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
    )
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or status[1] != b"101":
        raise EngineRefusedError(f"the engine did not attach: `{head.splitlines()[0].decode('latin-1')}`")
    return len(head)
