"""Attacks with tunnels, B73 and B75, and what ends TLS: each beside its twin that goes through."""

from __future__ import annotations

import asyncio

import pytest

from tests.attacks.through_proxy import handshake, say, say_inside_tls, through_tls, told
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


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that no real server trusts."""
    return make_authority(tmp_path_factory.mktemp("authority"))


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


async def test_b73_no_request_inside_ended_tls_is_for_another_host_than_the_tunnels(
    authority: Authority,
) -> None:
    """Fronting, the absolute form, a tunnel in the tunnel, HTTP/2 unasked, a WebSocket."""
    server = Server()
    async with serving(server, tls=authority.server("localhost")):
        read = rule("localhost", server.port, paths=["/**"])
        at = f"localhost:{server.port}"
        requests = {
            "another Host": f"GET / HTTP/1.1\r\nHost: evil.com:{server.port}\r\n\r\n",
            "two Hosts": f"GET / HTTP/1.1\r\nHost: {at}\r\nHost: evil.com\r\n\r\n",
            "no Host": "GET / HTTP/1.1\r\n\r\n",
            "the absolute form": f"GET https://evil.com/ HTTP/1.1\r\nHost: {at}\r\n\r\n",
            "a path that is a host": f"GET //evil.com/ HTTP/1.1\r\nHost: {at}\r\n\r\n",
            "a host before the path": f"GET @evil.com/ HTTP/1.1\r\nHost: {at}\r\n\r\n",
            "a tunnel": f"CONNECT evil.com:443 HTTP/1.1\r\nHost: {at}\r\n\r\n",
            "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "a WebSocket": f"GET / HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\n\r\n",
        }
        async with (
            gate_for(rules(read), ca_file=authority.file, proxy=True) as kept,
            loopback_proxy(kept) as port,
        ):
            trusted = kept.gate.ca_certificate
            for name, asked in requests.items():
                answer = await say_inside_tls(port, server.port, asked.encode(), trusted)
                assert told(answer) in {"protocol", "method"}, name
            assert server.heads == []
            twin = await through_tls(port, server.port, "/", trusted)
    assert twin.startswith(b"HTTP/1.1 200")


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
        get = f"GET / HTTP/1.1\r\nHost: {there}\r\nConnection: close\r\n\r\n".encode()
        answer = await say(port, connect, more=get)
    assert answer.endswith(b"hello")
