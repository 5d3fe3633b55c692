"""Speak with the container's loopback proxy: HTTP CONNECT, absolute-form HTTP/1.1 and SOCKS5."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING, Final, Literal

from policies.errors import BadValueError
from policies.hosts import canonical_host
from policies.urls import canonical_url
from sandbox.egress.ends import GoneError, Inlet, PlainEnd, TlsEnd
from sandbox.egress.errors import EgressDeniedError, EgressError, UpstreamError
from sandbox.egress.framing import HEAD_BYTES, check_head
from sandbox.egress.hello import is_tls
from sandbox.egress.passing import decision_deadline, judged_hello, pass_through
from sandbox.egress.requests import Origin, error_answer, serve_requests
from sandbox.egress.rules import Wanted
from sandbox.egress.splice import splice

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from sandbox.egress.authority import SessionAuthority
    from sandbox.egress.border import Border
    from sandbox.egress.crossing import Crossing

FIRST_SECONDS: Final = 20.0
_SOCKS5: Final = 5
_CONNECT: Final = b"CONNECT "
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_SOCKS_DONE: Final = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


class Proxy:
    """Answer connections from the container.

    Args:
        border: What they pass.
        authority: Who ends TLS where requests are read; None where no rule reads them.
    """

    def __init__(self, border: Border, authority: SessionAuthority | None) -> None:
        self._border = border
        self._authority = authority

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, action: str = ""
    ) -> None:
        """Serve one connection to its end, and close it.

        Args:
            reader: From the container.
            writer: To it.
            action: The action during which it was opened; empty where that is not known.
        """
        inlet = Inlet(PlainEnd(reader, writer))
        try:
            await _Served(self._border, self._authority, inlet, action).serve()
            writer.close()
            await writer.wait_closed()
        except (GoneError, OSError, EgressError):
            writer.transport.abort()
        except BaseException:
            writer.transport.abort()
            raise


class _Served:
    """One connection from the container."""

    def __init__(self, border: Border, authority: SessionAuthority | None, inlet: Inlet, action: str) -> None:
        self._border = border
        self._authority = authority
        self._inlet = inlet
        self._action = action

    async def serve(self) -> None:
        """Tell the protocol by the first bytes, and speak it."""
        inlet = self._inlet
        first = await _first(inlet)
        if first[:1] == bytes([_SOCKS5]):
            await self._socks(inlet)
        elif first.startswith(_CONNECT):
            await self._connect(inlet)
        elif first[:1].isalpha():
            await serve_requests(self._border, inlet, origin=None, action=self._action)
        elif first:
            denial = EgressDeniedError(
                "protocol", "this is a proxy for HTTP and SOCKS5", hint="see HTTP_PROXY"
            )
            await self._border.refuse(denial, scheme="tunnel", action=self._action)
            await inlet.write(error_answer(denial))

    async def _connect(self, inlet: Inlet) -> None:
        async def opened() -> None:
            await inlet.write(_ESTABLISHED)

        async def failed(error: EgressError) -> None:
            await inlet.write(error_answer(error))

        try:
            host, port = _authority(await inlet.head(HEAD_BYTES))
        except EgressDeniedError as denial:
            await self._border.refuse(denial, scheme="tunnel", action=self._action)
            await failed(denial)
            return
        await self._tunnel(inlet, host, port, opened=opened, failed=failed)

    async def _socks(self, inlet: Inlet) -> None:
        async def opened() -> None:
            await inlet.write(_SOCKS_DONE)

        async def failed(error: EgressError) -> None:
            await inlet.write(_socks_refusal(error))

        try:
            async with decision_deadline(FIRST_SECONDS):
                host, port = await _socks_target(inlet)
        except EgressDeniedError as denial:
            await self._border.refuse(denial, scheme="tunnel", action=self._action)
            await failed(denial)
            return
        await self._tunnel(inlet, host, port, opened=opened, failed=failed)

    async def _tunnel(
        self,
        inlet: Inlet,
        host: str,
        port: int,
        *,
        opened: Callable[[], Awaitable[None]],
        failed: Callable[[EgressError], Awaitable[None]],
    ) -> None:
        told = False
        try:
            wanted = Wanted(scheme="tunnel", host=host, port=port, action=self._action)
            async with self._border.crossing(wanted) as crossing:
                if not crossing.by_request:
                    await crossing.connect(tls=False)
                await opened()
                told = True
                await self._inside(inlet, crossing)
        except EgressError as error:
            if not told:
                await failed(error)
            raise

    async def _inside(self, inlet: Inlet, crossing: Crossing) -> None:
        if crossing.rule.protocol == "tcp" and not crossing.by_request:
            await splice(inlet, crossing)
            return
        async with decision_deadline():
            first = await inlet.read()
        if not first:
            return
        inlet.push_back(first)
        if not is_tls(first):
            await self._plain(inlet, crossing)
            return
        if crossing.by_request:
            inlet.push_back(await judged_hello(inlet, host=crossing.wanted.host, ends_here=True))
            await self._end_tls(inlet, crossing)
        else:
            await pass_through(inlet, crossing)

    async def _plain(self, inlet: Inlet, crossing: Crossing) -> None:
        """Read requests that are not in TLS: each is decided, whatever the tunnel was for."""
        crossing.abort()
        crossing.share.close()
        await self._requests(inlet, crossing, "http")

    async def _end_tls(self, inlet: Inlet, crossing: Crossing) -> None:
        if self._authority is None:
            raise EgressDeniedError("protocol", "this session has no authority to read requests with")
        wanted = crossing.wanted
        end = TlsEnd(inlet, self._authority.context(wanted.host))
        await end.handshake()
        await self._requests(Inlet(end), crossing, "https")

    async def _requests(self, inlet: Inlet, crossing: Crossing, scheme: Literal["http", "https"]) -> None:
        wanted, within = crossing.wanted, crossing.event.connection
        origin = Origin(scheme=scheme, host=wanted.host, port=wanted.port, within=within)
        await serve_requests(self._border, inlet, origin=origin, action=self._action)


async def _first(inlet: Inlet) -> bytes:
    """Return enough of what comes first to tell the protocol, and keep it; less when there is no more."""
    data = b""
    with contextlib.suppress(EgressDeniedError):
        async with decision_deadline(FIRST_SECONDS):
            while len(data) < len(_CONNECT) and data[:1] != bytes([_SOCKS5]) and (more := await inlet.read()):
                data += more
    inlet.push_back(data)
    return data


def _authority(raw: bytes) -> tuple[str, int]:
    """Return host and port of a CONNECT; its Host header must name the same."""
    check_head(raw)
    lines = raw[:-4].decode("latin-1").split("\r\n")
    target = lines[0].split(" ")[1]
    headers = [line.partition(":") for line in lines[1:]]
    names = {name.lower() for name, _, _ in headers}
    if names & {"content-length", "transfer-encoding"}:
        raise EgressDeniedError("protocol", "a CONNECT has no body")
    found = _host_and_port(target)
    for name, _, value in headers:
        if name.lower() == "host" and _host_and_port(value.strip(), port=found[1]) != found:
            raise EgressDeniedError("protocol", "the Host header and the target of CONNECT differ")
    return found


def _host_and_port(text: str, *, port: int = 0) -> tuple[str, int]:
    """Read `host:port` through the one reader of URLs that there is."""
    named = text.rpartition(":")[2].isdecimal() and not text.endswith("]")
    try:
        target = canonical_url(f"https://{text}" if named or not port else f"https://{text}:{port}")
    except BadValueError as error:
        raise EgressDeniedError("protocol", error.message, hint=error.hint) from error
    if not (named or port) or any(mark in text for mark in "/?#"):
        raise EgressDeniedError(
            "protocol", "the target of CONNECT is not `host:port`", hint="as in `a.example:443`"
        )
    return target.host, target.port


async def _socks_target(inlet: Inlet) -> tuple[str, int]:
    _, methods = await inlet.exactly(2)
    if 0 not in await inlet.exactly(methods):
        await inlet.write(b"\x05\xff")
        raise EgressDeniedError("protocol", "SOCKS5 without a password is spoken here")
    await inlet.write(b"\x05\x00")
    version, command, _, kind = await inlet.exactly(4)
    if version != _SOCKS5 or command != 1:
        raise EgressDeniedError("protocol", "only CONNECT of SOCKS5 is spoken here", hint="no BIND, no UDP")
    match kind:
        case 1:
            name = str(ipaddress.IPv4Address(await inlet.exactly(4)))
        case 3:
            name = (await inlet.exactly((await inlet.exactly(1))[0])).decode("latin-1")
        case 4:
            name = str(ipaddress.IPv6Address(await inlet.exactly(16)))
        case _:
            raise EgressDeniedError("protocol", f"SOCKS5 has no address type {kind}")
    port = int.from_bytes(await inlet.exactly(2))
    try:
        host = canonical_host(name)
    except BadValueError as error:
        raise EgressDeniedError("protocol", error.message, hint=error.hint) from error
    if not port:
        raise EgressDeniedError("protocol", "port 0 is none")
    return host, port


def _socks_refusal(error: EgressError) -> bytes:
    """Return the refusal of RFC 1928 6 that comes nearest: 2 not allowed, 4 unreachable, 5 refused."""
    code = 2 if isinstance(error, EgressDeniedError) else 1
    if isinstance(error, UpstreamError):
        code = {"resolve": 4, "connect": 5}.get(error.code, 1)
    return bytes([5, code]) + _SOCKS_DONE[2:]
