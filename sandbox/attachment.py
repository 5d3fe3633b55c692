"""Attach to a container's stdio by our own hijacked connection, and undo the engine's stream framing.

The docker SDK's attach blocks a thread and buffers without bounds; this is asyncio over a unix socket, TLS,
or `ssh … docker system dial-stdio`. The engine wraps output in frames of 8 bytes (stream type, three zero
bytes, u32 length, big-endian): Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.errors import EngineMissingError, EngineRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BUFFER_BYTES: Final = 1024 * 1024
ERRORS_KEPT_BYTES: Final = 4096
_STDERR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixEndpoint:
    """An engine behind a unix socket of this machine."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpEndpoint:
    """An engine behind TCP, with TLS when `tls` is given."""

    host: str
    port: int
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SshEndpoint:
    """An engine behind ssh; the ssh program is the user's own, with the user's own configuration."""

    destination: str
    port: int | None


Endpoint = UnixEndpoint | TcpEndpoint | SshEndpoint


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

    def __init__(self, streams: Streams, *, end: Callable[[], Awaitable[None]] | None = None) -> None:
        self._reader = StdioReader(streams[0])
        self._writer = streams[1]
        self._end = end

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

    async def close(self) -> None:
        """Close the connection, and with it the container's stdin."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()
        if self._end is not None:
            await self._end()


async def attach(endpoint: Endpoint, api_version: str, container_id: str) -> StdioAttachment:
    """Attach to a container before it starts.

    Raises:
        EngineMissingError: When the engine does not answer.
        EngineRefusedError: When it does not switch protocols.
    """
    try:
        streams, end = await _connect(endpoint)
    except OSError as error:
        raise EngineMissingError(f"the engine does not answer: {error.strerror or error}") from error
    reader, writer = streams
    query = "stream=1&stdin=1&stdout=1&stderr=1"
    writer.write(
        f"POST /v{api_version}/containers/{container_id}/attach?{query} HTTP/1.1\r\n"
        "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
    )
    try:
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
        writer.close()
        raise EngineRefusedError("the engine closed the connection instead of attaching") from error
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or status[1] != b"101":
        writer.close()
        raise EngineRefusedError(f"the engine did not attach: `{head.splitlines()[0].decode('latin-1')}`")
    return StdioAttachment(streams, end=end)


async def _connect(endpoint: Endpoint) -> tuple[Streams, Callable[[], Awaitable[None]] | None]:
    match endpoint:
        case UnixEndpoint(path=path):
            return await asyncio.open_unix_connection(path, limit=BUFFER_BYTES), None
        case TcpEndpoint(host=host, port=port, tls=tls):
            server_name = host if tls is not None else None
            streams = await asyncio.open_connection(
                host, port, ssl=tls, server_hostname=server_name, limit=BUFFER_BYTES
            )
            return streams, None
        case SshEndpoint(destination=destination, port=port):
            return await _connect_by_ssh(destination, port)


async def _connect_by_ssh(
    destination: str, port: int | None
) -> tuple[Streams, Callable[[], Awaitable[None]]]:
    """Run `docker system dial-stdio` on the engine's machine and speak through its pipes."""
    options = ["-p", str(port)] if port is not None else []
    process = await asyncio.create_subprocess_exec(
        *("ssh", "-T", *options, "--", destination, "docker", "system", "dial-stdio"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=BUFFER_BYTES,
    )
    if process.stdout is None or process.stdin is None:
        raise EngineMissingError("ssh gave no pipes")

    async def end() -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    return (process.stdout, process.stdin), end
