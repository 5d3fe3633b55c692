"""Attacks with requests, B73, B74, B77, B84: what two parsers could read in two ways is carried by none."""

from __future__ import annotations

import pytest

from sandbox.egress.errors import EgressDeniedError
from tests.attacks.through_proxy import say, told
from tests.sandbox.egress.ground import Server, gate_for, loopback_proxy, rule, rules, serving


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


READ_IN_TWO_WAYS = (
    "/ok/%2e%2e/no",
    "/ok/../no",
    "/ok//no",
    "/ok/;x/no",
    "/ok\\no",
    "/ok/%252e%252e/no",
    "/ok/%2f../no",
    "/ok/.%2e/no",
    "/no",
)


async def test_b77_a_path_that_servers_read_in_two_ways_is_refused() -> None:
    server = Server()
    async with serving(server), gate_for(rules(rule("localhost", server.port, paths=["/ok/**"]))) as kept:
        for path in READ_IN_TWO_WAYS:
            with pytest.raises(EgressDeniedError) as denied:
                await kept.gate.request("GET", f"http://localhost:{server.port}{path}")
            assert denied.value.code in {"path", "protocol"}, path
        await kept.gate.request("GET", f"http://localhost:{server.port}/ok/%7Eno")
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
