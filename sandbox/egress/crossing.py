"""Hold one allowed connection: dialled at most once, to checked addresses, every byte counted."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox.egress.errors import UpstreamError
from sandbox.egress.events import Closed
from sandbox.egress.resolve import pinned

if TYPE_CHECKING:
    from sandbox.egress.budget import Share
    from sandbox.egress.dial import Opened
    from sandbox.egress.events import Decided
    from sandbox.egress.outside import Outside
    from sandbox.egress.rules import Allowed, Wanted

CHUNK_BYTES: Final = 64 * 1024
FINISH_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 120.0
"""Longest wait for the next byte, or for room to send one."""


class Crossing:
    """One allowed connection: dialled at most once, and counted byte by byte."""

    def __init__(
        self, *, event: Decided, wanted: Wanted, allowed: Allowed, share: Share, outside: Outside
    ) -> None:
        self.event = event
        self.wanted = wanted
        self.rule = allowed.rule
        self.by_request = allowed.by_request
        self.share = share
        self.status = 0
        self.requests = 0 if allowed.by_request else 1
        self._outside = outside
        self._opened: Opened | None = None

    def closed(self, *, why: str, seconds: float) -> Closed:
        """Return the event that says that it is over."""
        return Closed(
            connection=self.event.connection,
            host=self.event.host,
            port=self.event.port,
            address=self.address,
            sent_bytes=self.share.sent_bytes,
            received_bytes=self.share.received_bytes,
            status=self.status,
            duration_ms=int(seconds * 1000),
            why=why,
            action=self.event.action,
            rule=self.rule.name,
            method=self.event.method,
            path=self.event.path,
            requests=self.requests if self.by_request or self._opened else 0,
        )

    @property
    def address(self) -> str:
        """What was dialled; empty before."""
        return str(self._opened.address) if self._opened else ""

    @property
    def speaks_http2(self) -> bool:
        """Whether the server agreed to HTTP/2, inside TLS that the gate speaks."""
        tls = self._opened.writer.get_extra_info("ssl_object") if self._opened else None
        return tls is not None and tls.selected_alpn_protocol() == "h2"

    async def connect(self, *, tls: bool) -> None:
        """Resolve, check and dial.

        Args:
            tls: Whether the gate itself speaks TLS, and verifies the server.

        Raises:
            EgressDeniedError: When an address must not be dialled.
            UpstreamError: When nothing answers.
        """
        name = self.wanted.host
        if self.rule.host.is_wild:  # labels below a wildcard reach whoever answers for the zone
            self.share.send(len(name) - len(self.rule.host.text) + 1)
        addresses = await pinned(
            name,
            allow_private=self.rule.allow_private,
            resolver=self._outside.resolver,
            networks=self._outside.networks,
        )
        self._opened = await self._outside.dialler.open(addresses, port=self.wanted.port, name=name, tls=tls)

    async def write(self, data: bytes) -> None:
        """Send bytes, counted first, and wait for room.

        Raises:
            EgressDeniedError: When the budget of bytes sent is spent; nothing of `data` leaves.
            UpstreamError: When the connection is lost, or takes nothing for too long.
        """
        writer = self._connection.writer
        self.share.send(len(data))
        try:
            writer.write(data)
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()
        except TimeoutError:
            raise UpstreamError(
                "timeout", f"`{self.wanted.host}` took nothing for {IDLE_SECONDS:.0f} s"
            ) from None
        except OSError as error:
            raise self._lost() from error

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end.

        Raises:
            EgressDeniedError: When the budget of bytes received is spent.
            UpstreamError: When the connection is lost, or nothing comes for too long.
        """
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                data = await self._connection.reader.read(CHUNK_BYTES)
        except TimeoutError:
            raise UpstreamError(
                "timeout", f"`{self.wanted.host}` sent nothing for {IDLE_SECONDS:.0f} s"
            ) from None
        except OSError as error:
            raise self._lost() from error
        self.share.receive(len(data))
        return data

    def end_sending(self) -> None:
        """Tell the server that nothing more comes, where the transport can say so."""
        writer = self._connection.writer
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def finish(self) -> None:
        """Close once everything that was written has left."""
        writer = self._connection.writer
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await writer.wait_closed()

    def abort(self) -> None:
        """Drop the connection at once; what has not left yet never does."""
        if self._opened is not None:
            self._opened.writer.transport.abort()

    @property
    def _connection(self) -> Opened:
        if self._opened is None:
            raise UpstreamError("connect", f"`{self.wanted.host}` was not dialled")
        return self._opened

    def _lost(self) -> UpstreamError:
        return UpstreamError("upstream", f"the connection to `{self.wanted.host}` was lost")
