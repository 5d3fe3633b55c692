"""Attach to a container's stdio by our own hijacked connection, and undo the engine's stream framing.

The docker SDK's attach blocks a thread and buffers without bounds; this is asyncio over a unix socket, TLS,
or `ssh … docker system dial-stdio`. The engine wraps output in frames of 8 bytes (stream type, three zero
bytes, u32 length, big-endian): Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sandbox.endpoint import BUFFER_BYTES, connect
from sandbox.errors import EngineMissingError, EngineRefusedError
from sandbox.link_end import closed

if TYPE_CHECKING:
    from sandbox.endpoint import Endpoint, SshCall, Streams

ATTACH_SECONDS: Final = 60
ERRORS_KEPT_BYTES: Final = 4096
_STDERR: Final = 2


class StdioReader:
    """Read stdout out of the engine's framing; stderr is kept aside, bounded."""

    def __init__(self, raw: asyncio.StreamReader) -> None:
        self._raw = raw
        self._remaining = 0
        self.errors = b""

    async def read(self, limit: int) -> bytes:
        """Return at most `limit` bytes of stdout; empty at the end."""
        while self._remaining == 0:
            header = await self._header()
            if header is None:
                return b""
            length = int.from_bytes(header[4:8])
            if header[0] == _STDERR:
                await self._keep_errors(length)
            else:
                self._remaining = length
        chunk = await self._raw.read(min(limit, self._remaining))
        self._remaining -= len(chunk)
        return chunk

    async def _header(self) -> bytes | None:
        try:
            return await self._raw.readexactly(8)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _keep_errors(self, length: int) -> None:
        while length:
            chunk = await self._raw.read(min(length, BUFFER_BYTES))
            if not chunk:
                return
            length -= len(chunk)
            self.errors = (self.errors + chunk)[-ERRORS_KEPT_BYTES:]


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
            await _switch(streams, api_version, container_id)
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        said = await attachment.close()
        why = said or ("it does not answer in time" if isinstance(error, TimeoutError) else "it hung up")
        raise EngineMissingError(f"no attaching to the engine: {why}") from error
    except BaseException:
        await attachment.close()
        raise
    return attachment


async def _switch(streams: Streams, api_version: str, container_id: str) -> None:
    """Ask for the container's streams in place of HTTP."""
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
