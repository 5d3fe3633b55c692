"""Attacks with framing and other protocols, B74 and B75: a server sees what was decided, and no more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.attacks.through_proxy import handshake, say, socks_code, told
from tests.sandbox.egress.ground import (
    Authority,
    Server,
    gate_for,
    loopback_proxy,
    make_authority,
    rule,
    rules,
    serving,
)

MIB = 1024 * 1024
EVIL = b"GET /evil HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that no real server trusts."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@dataclass
class Whole(Server):
    """A server that keeps all that a connection carries, until it is whole or the client ends."""

    carried: list[bytes] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a request with its body, and answer."""
        self.connections += 1
        try:
            data = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(data)
            while b"chunked" in data.partition(b"\r\n\r\n")[0] and not data.endswith(b"0\r\n\r\n"):
                if not (more := await reader.read(65536)):
                    break
                data += more
            self.carried.append(data)
            writer.write(self.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()


CHUNKS = {
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "hexadecimal prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "no number": b"\r\nhello\r\n0\r\n\r\n",
    "more than a size can be": b"fffffffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "data goes on": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "no end of data": b"5\r\nhello0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "trailer with a control": b"5\r\nhello\r\n0\r\nx: a\0b\r\n\r\n",
}


async def test_b74_chunks_that_two_parsers_could_cut_in_two_ways_are_not_carried() -> None:
    """What follows them in the same bytes is never a request."""
    server = Whole()
    async with (
        serving(server),
        gate_for(rules(rule("127.0.0.1", server.port, methods=("GET", "POST"))), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f"127.0.0.1:{server.port}".encode()
        head = b"POST http://%b/x HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % (at, at)
        for name, chunks in CHUNKS.items():
            answer = await say(port, head + chunks + EVIL)
            assert told(answer) == "protocol", name
        close = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        twin = await say(port, close + b"5;ext=1\r\nhello\r\n0\r\nX-Trailer: 1\r\nContent-Length: 9\r\n\r\n")

    assert twin.startswith(b"HTTP/1.1 200")
    assert not any(b"evil" in carried for carried in (*server.heads, *server.carried))
    last = server.carried[-1].partition(b"\r\n\r\n")
    assert last[2] == b"5\r\nhello\r\n0\r\n\r\n"
    assert b"railer" not in last[0]
    assert {event.path for event in kept.decided} <= {"/x", ""}


async def test_b74_lengths_and_encodings_that_differ_never_reach_a_server() -> None:
    """CL.TE, TE.CL and TE.TE, plain and inside a tunnel."""
    server = Whole()
    variants = (
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
        b"Content-Length: 1_0\r\n\r\n",
        b"Content-Length: \xb2\r\n\r\n",
    )
    async with (
        serving(server),
        gate_for(rules(rule("127.0.0.1", server.port, methods=("GET", "POST"))), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f"127.0.0.1:{server.port}".encode()
        connect = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (at, at)
        for variant in variants:
            plain = await say(port, b"POST http://%b/ HTTP/1.1\r\nHost: %b\r\n" % (at, at) + variant + EVIL)
            inside = await say(port, connect, more=b"POST / HTTP/1.1\r\nHost: %b\r\n" % at + variant + EVIL)
            assert told(plain) == "protocol", variant
            assert told(inside.partition(b"established\r\n\r\n")[2]) == "protocol", variant
        twin = await say(port, b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (at, at))

    assert twin.startswith(b"HTTP/1.1 200")
    assert len(server.heads) == 1


async def test_b74_no_second_protocol_begins_inside_a_carried_request() -> None:
    """An upgrade, a CONNECT behind a request, the absolute form and `*` inside a tunnel."""
    server = Whole()
    async with (
        serving(server),
        gate_for(rules(rule("127.0.0.1", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f"127.0.0.1:{server.port}".encode()
        get = b"GET http://%b/1 HTTP/1.1\r\nHost: %b\r\n" % (at, at)
        socket = b"Connection: Upgrade, close\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
        assert told(await say(port, get + socket)) == "protocol"
        two = (
            b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        )
        upgraded = await say(port, get + two)
        for to in (at, b"evil.com:443"):
            behind = await say(port, get + b"\r\nCONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (to, to) + EVIL)
            assert behind.count(b"HTTP/1.1 ") == 2
            assert b"HTTP/1.1 403" in behind
        connect = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (at, at)
        lines = (b"GET http://evil.com/", b"GET *", b"GET //evil.com/", b"GET evil.com:80", b"PRI *")
        for line in lines:
            inside = await say(port, connect, more=line + b" HTTP/1.1\r\nHost: %b\r\n\r\n" % at)
            assert told(inside.partition(b"established\r\n\r\n")[2]) == "protocol", line
        again = await say(port, connect, more=connect)
        assert told(again.partition(b"established\r\n\r\n")[2]) in {"protocol", "method"}
        knowing = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        assert told(await say(port, knowing)) == "protocol"
        inside = await say(port, connect, more=knowing)
        assert told(inside.partition(b"established\r\n\r\n")[2]) == "protocol"

    assert upgraded.startswith(b"HTTP/1.1 200")
    assert b"upgrade" not in server.heads[0].lower()
    assert b"settings" not in server.heads[0].lower()
    assert {event.path for event in kept.decided if event.verdict == "allowed"} == {"/1", ""}
    assert len(server.heads) == 3


OVERRIDING = (
    "X-HTTP-Method-Override: DELETE", "X_HTTP_METHOD_OVERRIDE: DELETE", "X-HTTP-Method: PUT",
    "X-Method-Override: POST", "X-Original-URL: /admin", "X-Rewrite-Url: /admin",
    "X-Forwarded-Host: evil.com", "X-Host: evil.com", "Forwarded: host=evil.com",
)  # fmt: skip


async def test_b74_b77_no_header_asks_a_server_for_another_request_than_the_one_decided() -> None:
    async with (
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f"127.0.0.1:{server.port}"
        get = f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n"
        for header in OVERRIDING:
            assert told(await say(port, f"{get}{header}\r\n\r\n".encode())) == "protocol", header
        assert server.heads == []
        twin = await say(port, f"{get}X-Requested-With: x\r\n\r\n".encode())

    assert twin.startswith(b"HTTP/1.1 200")
    assert b"x-requested-with: x" in server.heads[0]


async def test_b75_socks_speaks_connect_only_and_judges_addresses_like_names(authority: Authority) -> None:
    server = Server()
    async with (
        serving(server, tls=authority.server("localhost")),
        gate_for(rules(rule("localhost", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        literals = {
            1: (b"\x7f\0\0\1", b"\x0a\0\0\1", b"\xa9\xfe\xa9\xfe", bytes(4)),
            4: (
                bytes(15) + b"\1",
                bytes(10) + b"\xff\xff\x7f\0\0\1",
                b"\0\x64\xff\x9b" + bytes(8) + b"\x7f\0\0\1",
            ),
        }
        for kind, names in literals.items():
            for name in names:
                assert await socks_code(port, name, server.port, kind=kind) == 2, name
        assert await socks_code(port, b"localhost", 0) == 2
        for command in (2, 3):
            bind = await say(port, b"\5\1\0", more=bytes([5, command, 0, 3, 9]) + b"localhost" + b"\1\xbb")
            assert bind[:4] == b"\5\0\5\2", command
        passworded = await say(port, b"\5\1\2")
        twin = await socks_code(port, b"localhost", server.port)

    assert passworded.startswith(b"\5\xff")
    assert twin == 0
    assert {event.host for event in kept.decided if event.verdict == "allowed"} == {"localhost"}


async def test_b75_a_hello_in_many_pieces_is_put_together_before_it_is_judged(authority: Authority) -> None:
    """Cut into single bytes it passes when it asks for the tunnel's name; without a name it never does."""
    async with (
        serving(Server(), tls=authority.server("localhost")) as server,
        gate_for(rules(rule("localhost", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
        in_pieces(port) as slowly,
    ):
        head = f"CONNECT localhost:{server.port} HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()
        outcomes = [
            await handshake(slowly, head, name=name, authority=authority)
            for name in ("localhost", "evil.com", "")
        ]

    assert outcomes == ["done", "refused", "refused"]


class in_pieces:  # noqa: N801 - reads as what it does
    """A port that passes what comes to another in pieces of 7 bytes, each in a segment of its own."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        """Listen."""
        self._listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return int(self._listening.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, to = await asyncio.open_connection("127.0.0.1", self._to)
        for source, target, piece in ((reader, to, 7), (far, writer, 65536)):
            self._tasks.add(asyncio.create_task(self._copy(source, target, piece)))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, piece: int) -> None:
        try:
            while data := await source.read(piece):
                target.write(data)
                await target.drain()
                await asyncio.sleep(0)
            target.close()
        except OSError:
            target.transport.abort()
