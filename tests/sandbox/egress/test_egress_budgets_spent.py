"""Each budget of the gate, of a rule and of the session: it ends, the agent is told, the others go on."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING

import pytest

from sandbox.egress.errors import EgressDeniedError, UpstreamError
from sandbox.egress.rules import Crossed, Limits
from tests.sandbox.egress.ground import Server, gate_for, loopback_proxy, rule, rules, serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.egress.rules import RuleSet
    from tests.sandbox.egress.ground import Authority

LARGE = b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n" + b"x" * 90_000
OWN = {"sent_bytes": 200, "received_bytes": 50_000, "requests": 1}


def bounded(of: str, limit: str, bound: int, *, spent: int, free: int) -> RuleSet:
    """Write rules for two servers, of which one is bounded, or the session is."""
    if of == "session":
        return rules(rule("127.0.0.1", spent), rule("127.0.0.1", free), **{limit: bound})
    own = Limits(**{limit: bound})
    return rules(rule("127.0.0.1", spent, limits=own), rule("127.0.0.1", free))


@pytest.mark.parametrize("of", ["session", "rule"])
@pytest.mark.parametrize(("limit", "bound"), OWN.items())
async def test_a_budget_that_is_spent_is_told_once_and_refuses_from_then_on(
    of: str, limit: str, bound: int
) -> None:
    """The denial names the bound, one event says that it was reached; a rule's bound holds only that rule."""
    async with (
        serving(Server(LARGE if limit == "received_bytes" else Server().answer)) as spent,
        serving(Server()) as free,
        gate_for(bounded(of, limit, bound, spent=spent.port, free=free.port)) as kept,
    ):
        url = f"http://127.0.0.1:{spent.port}/{'x' * 120}"
        codes, told = [], set()
        for _ in range(4):
            try:
                await kept.gate.request("GET", url, action="s/9")
            except EgressDeniedError as denied:
                codes.append(denied.code)
                told.add(denied.message)
        if of == "rule":
            other = await kept.gate.request("GET", f"http://127.0.0.1:{free.port}/")
            assert other.status == 200

    assert len(codes) >= 3
    assert set(codes) == {"budget"}
    assert all(str(bound) in message for message in told)
    assert kept.spent == [(f"egress.{limit}" if of == "session" else f"egress.rule.{limit}", bound)]
    assert {event.action for event in kept.events if hasattr(event, "unit")} == {"s/9"}


async def until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened, which nobody tells."""
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - a list of events has no way to say so
            await asyncio.sleep(0.01)


async def test_too_many_connections_at_once_are_refused_until_one_ends() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with (
        listening,
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", port), rule("127.0.0.1", server.port), connections=1)) as kept,
    ):
        waiting = asyncio.create_task(kept.gate.request("GET", f"http://127.0.0.1:{port}/"))
        await until(lambda: bool(kept.decided))
        with pytest.raises(EgressDeniedError, match="1 connections at once"):
            await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: bool(kept.closed))
        after = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert after.status == 200
    assert kept.spent == [("egress.connections", 1)]


async def test_a_connection_that_lasts_too_long_is_ended_and_the_next_one_is_served() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, serving(Server()) as server:
        short = rule("127.0.0.1", port, limits=Limits(connection_seconds=0.5))
        async with gate_for(rules(short, rule("127.0.0.1", server.port))) as kept:
            with pytest.raises(UpstreamError) as failed:
                await kept.gate.request("GET", f"http://127.0.0.1:{port}/")
            after = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert failed.value.code == "timeout"
    assert after.status == 200
    assert kept.spent == [("egress.rule.connection_time", 500)]


async def test_a_tunnel_broken_off_by_the_budget_is_followed_by_a_refusal_that_says_so(
    authority: Authority,
) -> None:
    """Inside TLS that passes through nobody can be told; the next tunnel is refused with the reason."""
    server = Server()
    async with serving(server, tls=authority.server("localhost")):
        async with (
            gate_for(rules(rule("localhost", server.port), sent_bytes=100), proxy=True) as kept,
            loopback_proxy(kept) as port,
        ):
            with pytest.raises((OSError, EOFError)):
                await through(port, server.port, authority)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            at = f"localhost:{server.port}"
            writer.write(f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n".encode())
            refused = await asyncio.wait_for(reader.read(), 60)
            writer.close()
        async with (
            gate_for(rules(rule("localhost", server.port), sent_bytes=10_000), proxy=True) as roomy,
            loopback_proxy(roomy) as port,
        ):
            twin = await through(port, server.port, authority)

    told = json.loads(refused.partition(b"\r\n\r\n")[2])
    assert refused.startswith(b"HTTP/1.1 403")
    assert (told["code"], "100 bytes sent" in told["message"]) == ("budget", True)
    assert kept.spent == [("egress.sent_bytes", 100)]
    assert twin.endswith(b"hello")
    assert roomy.spent == []


async def through(port: int, to: int, authority: Authority) -> bytes:
    """Ask for a page inside a tunnel whose TLS the server itself ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"CONNECT localhost:{to} HTTP/1.1\r\nHost: localhost:{to}\r\n\r\n".encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        context = ssl.create_default_context(cafile=authority.file)
        await asyncio.wait_for(writer.start_tls(context, server_hostname="localhost"), 60)
        writer.write(f"GET / HTTP/1.1\r\nHost: localhost:{to}\r\nConnection: close\r\n\r\n".encode())
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.transport.abort()


async def test_what_crossed_before_a_session_went_on_counts_in_its_budgets() -> None:
    async with serving(Server()) as server:
        own = rule("127.0.0.1", server.port, limits=Limits(requests=2))
        async with gate_for(rules(own), crossed=(Crossed(rule=own.name, requests=1),)) as resumed:
            url = f"http://127.0.0.1:{server.port}/"
            response = await resumed.gate.request("GET", url)
            with pytest.raises(EgressDeniedError, match=r"rule `127.0.0.1` is spent: 2 requests"):
                await resumed.gate.request("GET", url)

    assert response.status == 200


@pytest.mark.parametrize("under", ["its own", "another"])
async def test_what_crosses_another_gate_of_the_same_pot_counts_from_then_on(under: str) -> None:
    """A rule that a session below had narrowed is none of those here, and counts under each."""
    async with serving(Server()) as server:
        own = rule("127.0.0.1", server.port, limits=Limits(requests=2))
        async with gate_for(rules(own)) as kept:
            url = f"http://127.0.0.1:{server.port}/"
            response = await kept.gate.request("GET", url)
            kept.gate.count_elsewhere(Crossed(rule=own.name if under == "its own" else "other", requests=1))
            with pytest.raises(EgressDeniedError, match=r"rule `127.0.0.1` is spent: 2 requests"):
                await kept.gate.request("GET", url)

    assert response.status == 200


async def test_what_is_refused_is_shown_to_who_watches_and_only_while_it_watches() -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        with kept.gate.refusals() as refused:
            await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")
            with pytest.raises(EgressDeniedError):
                await kept.gate.request("GET", "http://elsewhere.example/")
        with pytest.raises(EgressDeniedError):
            await kept.gate.request("GET", "http://later.example/")

    assert [(event.host, event.code) for event in refused] == [("elsewhere.example", "host")]


async def test_the_budget_of_bytes_sent_counts_the_query_and_stops_before_a_byte_leaves() -> None:
    async with (
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", server.port), sent_bytes=200)) as kept,
    ):
        url = f"http://127.0.0.1:{server.port}/"
        await kept.gate.request("GET", url)
        with pytest.raises(EgressDeniedError) as denied:
            await kept.gate.request("GET", f"{url}?{'x' * 300}")

    assert denied.value.code == "budget"
    assert len(server.heads) == 1
