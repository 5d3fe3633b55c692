"""The gate with its real process: requests that its rules allow or not, against servers on loopback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sandbox.egress.errors import EgressDeniedError
from tests.sandbox.egress.ground import OK, Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from sandbox.egress.events import Event


async def test_an_allowed_request_is_answered_and_accounted_for() -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        response = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/a?b=c", action="s/1")

    assert (response.status, response.body, response.address) == (200, b"hello", "127.0.0.1")
    assert server.heads[0].startswith(b"GET /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:")
    assert response.bytes_sent == len(server.heads[0])
    assert response.bytes_received == len(OK)
    assert kept.verdicts == [("allowed", "")]
    assert kept.decided[0].path == "/a"
    assert (kept.closed[0].why, kept.closed[0].status, kept.closed[0].action) == ("done", 200, "s/1")


REFUSED = (
    ("GET", "http://localhost:{port}/", "host"),
    ("GET", "http://127.0.0.1:1/", "host"),
    ("POST", "http://127.0.0.1:{port}/", "method"),
    ("TRACE", "http://127.0.0.1:{port}/", "method"),
    ("CONNECT", "http://127.0.0.1:{port}/", "method"),
    ("get", "http://127.0.0.1:{port}/", "method"),
    ("GET /x HTTP/1.1\r\nx:", "http://127.0.0.1:{port}/", "method"),
    ("GET", "http://127.0.0.1:{port}/a/../b", "protocol"),
    ("GET", "http://user@127.0.0.1:{port}/", "protocol"),
    ("GET", "ftp://127.0.0.1:{port}/", "protocol"),
    ("GET", "", "protocol"),
)


async def test_what_the_rules_do_not_allow_never_reaches_the_server() -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        for method, where, code in REFUSED:
            with pytest.raises(EgressDeniedError) as denied:
                await kept.gate.request(method, where.format(port=server.port))
            assert denied.value.code == code, (method, where)
            assert kept.verdicts[-1] == ("denied", code), (method, where)

    assert len(kept.events) == len(REFUSED)
    assert server.connections == 0


async def test_a_private_address_is_refused_after_the_name_was_allowed() -> None:
    async with serving(Server()) as server:
        private = rule("localhost", server.port, allow_private=False)
        async with gate_for(rules(private)) as kept:
            with pytest.raises(EgressDeniedError) as denied:
                await kept.gate.request("GET", f"http://localhost:{server.port}/")

    assert denied.value.code == "address"
    assert kept.verdicts == [("allowed", ""), ("denied", "address")]
    assert kept.closed[0].why == "address"
    assert server.connections == 0


async def test_nothing_leaves_before_the_event_is_durable() -> None:
    server = Server()
    seen: list[int] = []

    async def slowly(event: Event) -> None:
        if hasattr(event, "verdict"):
            await asyncio.sleep(0.2)
            seen.append(server.connections)

    async with serving(server), gate_for(rules(rule("127.0.0.1", server.port)), journal=slowly) as kept:
        await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert seen == [0]
    assert server.connections == 1


HEADERS = (
    ("x", "a\r\nhost: evil"),
    ("x\r\ny", "a"),
    ("x y", "a"),
    ("", "a"),
    ("x:", "a"),
    ("x", "a\0b"),
    ("x", "caf\xe9"),
)


async def test_a_header_cannot_carry_a_second_one() -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        for header in HEADERS:
            with pytest.raises(EgressDeniedError) as denied:
                await asyncio.wait_for(
                    kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", headers=(header,)), 60
                )
            assert denied.value.code == "protocol", header

    assert server.connections == 0


async def test_headers_of_the_connection_are_the_gates_own() -> None:
    given = (("Host", "evil"), ("Connection", "x-mine"), ("X-Mine", "1"), ("TE", "trailers"), ("X-Kept", "1"))
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", headers=given)

    assert server.heads[0].split(b"\r\n")[1:] == [
        f"host: 127.0.0.1:{server.port}".encode(),
        b"x-kept: 1",
        b"connection: close",
        b"",
        b"",
    ]


async def test_a_cancelled_request_is_closed_and_the_gate_lives() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with (
        listening,
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", port), rule("localhost", server.port))) as kept,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.gate.request("GET", f"http://127.0.0.1:{port}/"), 1)
        response = await kept.gate.request("GET", f"http://localhost:{server.port}/")

    assert response.status == 200
    assert kept.closed[0].why == "cancelled"
