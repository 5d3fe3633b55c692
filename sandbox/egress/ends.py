"""Hold the container's end of a connection, plain or TLS: bytes in by deadlines, bytes out as room allows."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.framing import check_beginning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
CHUNK_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 20.0
IDLE_SECONDS: Final = 120.0
TLS_SECONDS: Final = 15.0


class GoneError(Exception):
    """Raised when the container's end is gone, or takes nothing for too long; there is nobody to tell."""


class End(Protocol):
    """One end of a connection."""

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes and wait for room."""
        ...

    def end(self) -> None:
        """Say that nothing more comes."""
        ...


class PlainEnd:
    """The container's end as it comes from the link.

    Args:
        reader: From the container.
        writer: To it.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end."""
        return await _in_time(self._reader.read(CHUNK_BYTES))

    async def write(self, data: bytes) -> None:
        """Send bytes and wait for room."""
        self._writer.write(data)
        await _in_time(self._writer.drain())

    def end(self) -> None:
        """Say that nothing more comes."""
        if not self._writer.is_closing():
            self._writer.write_eof()


class Inlet:
    """An end whose bytes can be looked at before they are taken.

    Args:
        end: Where they come from.
    """

    def __init__(self, end: End) -> None:
        self.end = end
        self._held = b""

    async def read(self) -> bytes:
        """Return what is held, or else the next bytes; empty at the end."""
        held, self._held = self._held, b""
        return held or await self.end.read()

    def push_back(self, data: bytes) -> None:
        """Hold bytes that were read and not used."""
        self._held = data + self._held

    async def write(self, data: bytes) -> None:
        """Send bytes and wait for room."""
        await self.end.write(data)

    async def exactly(self, count: int) -> bytes:
        """Return that many bytes.

        Raises:
            GoneError: When there are fewer.
        """
        data = b""
        while len(data) < count:
            if not (more := await self.read()):
                raise GoneError
            data += more
        self.push_back(data[count:])
        return data[:count]

    async def head(self, limit_bytes: int) -> bytes:
        """Return bytes up to an empty line, and the line; empty when nothing came at all.

        Raises:
            EgressDeniedError: When it is too long, no request's, or does not come in time.
            GoneError: When it is cut off.
        """
        data = b""
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                while (at := data.find(b"\r\n\r\n")) < 0:
                    if len(data) > limit_bytes:
                        raise EgressDeniedError("protocol", f"the head is longer than {limit_bytes} bytes")
                    more = await self.read()
                    if not more and not data:
                        return b""
                    if not more:
                        raise GoneError
                    data += more
                    check_beginning(data)
        except TimeoutError:
            if not data:
                raise GoneError from None
            raise EgressDeniedError(
                "protocol", f"the head did not come within {HEAD_SECONDS:.0f} s"
            ) from None
        self.push_back(data[at + 4 :])
        return data[: at + 4]


class TlsEnd:
    """The container's end inside TLS that ends here.

    Args:
        inlet: The bytes outside, the ClientHello first.
        context: Who we are.
    """

    def __init__(self, inlet: Inlet, context: ssl.SSLContext) -> None:
        self._inlet = inlet
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> None:
        """Shake hands.

        Raises:
            EgressDeniedError: When the client does not trust us, or takes too long.
        """
        try:
            async with asyncio.timeout(TLS_SECONDS):
                await self._until(self._tls.do_handshake)
        except (ssl.SSLError, TimeoutError) as error:
            raise EgressDeniedError(
                "protocol",
                "the client did not accept the session's certificate",
                hint="the session's authority is in the file that SSL_CERT_FILE names",
            ) from error

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end."""
        try:
            return await self._until(lambda: self._tls.read(CHUNK_BYTES))
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise GoneError from error

    async def write(self, data: bytes) -> None:
        """Send bytes and wait for room."""
        for at in range(0, len(data), CHUNK_BYTES):
            try:
                self._tls.write(data[at : at + CHUNK_BYTES])
            except ssl.SSLError as error:
                raise GoneError from error
            await self._flush()

    def end(self) -> None:
        """Say nothing: the framing inside tells where a message ends."""

    async def _until(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._flush()
                if data := await self._inlet.read():
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLEOFError:
                raise GoneError from None
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._inlet.write(self._outgoing.read())


async def _in_time(work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await work
    except (OSError, TimeoutError) as error:
        raise GoneError from error
