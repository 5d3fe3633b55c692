"""Open a connection to pinned addresses, in order; TLS is verified for the name that was asked for."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.egress.errors import UpstreamError

if TYPE_CHECKING:
    from sandbox.egress.addresses import Address

CONNECT_SECONDS: Final = 10.0
TLS_SECONDS: Final = 15.0
BUFFER_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    address: Address


def tls_context(authorities: str = "") -> ssl.SSLContext:
    """Return how servers are verified: the system's trust store, names checked, TLS 1.2 at least.

    A name that only stands in a certificate's common name counts for nothing (RFC 9525, 6.3).

    Args:
        authorities: Further ones, PEM, of the operator's; empty for none.

    Raises:
        OSError: When they cannot be read as certificates.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["h2", "http/1.1"])
    if authorities:
        context.load_verify_locations(cadata=authorities)
    return context


class Dialler:
    """Dial addresses that were checked.

    Args:
        tls: How servers are verified.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls

    async def open(self, addresses: tuple[Address, ...], *, port: int, name: str, tls: bool) -> Opened:
        """Dial the addresses in order and use the first that answers.

        Args:
            addresses: What the name was pinned to.
            port: The port.
            name: The name that was asked for; with `tls` the certificate must be for it.
            tls: Whether the gate itself speaks TLS.

        Raises:
            UpstreamError: When none answers, or the one that does is not who it should be.
        """
        failure = "no address"
        for address in addresses:
            try:
                connected = await _connect(address, port)
            except (OSError, TimeoutError) as error:
                failure = _why(error)
                continue
            return await self._streams(connected, address, name=name, tls=tls)
        raise UpstreamError("connect", f"`{name}` port {port} does not answer: {failure}")

    async def _streams(self, connected: socket.socket, address: Address, *, name: str, tls: bool) -> Opened:
        try:
            async with asyncio.timeout(TLS_SECONDS):
                reader, writer = await asyncio.open_connection(
                    sock=connected,
                    limit=BUFFER_BYTES,
                    ssl=self._tls if tls else None,
                    server_hostname=name if tls else None,
                )
        except (OSError, TimeoutError) as error:
            connected.close()
            kind = "a TLS handshake" if tls else "a connection"
            raise UpstreamError(
                "tls", f"{kind} with `{name}` failed: {_why(error)}", hint=_mend(error)
            ) from error
        return Opened(reader=reader, writer=writer, address=address)


async def _connect(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


def _why(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "timed out"
        case ssl.SSLCertVerificationError():
            return error.verify_message.rstrip(".").lower()
        case OSError(strerror=str() as text):
            return text.rstrip(".").lower()
        case _:
            return type(error).__name__


def _mend(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the server's certificate must be valid for that name and signed by a trusted authority"
    return ""
