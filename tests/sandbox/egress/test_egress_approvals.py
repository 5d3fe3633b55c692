"""Rules that ask a person, rules with bounds of their own, and what a policy writes of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from policies.join import join
from policies.source import parse_policy
from sandbox.egress.rules import Limits, RuleSet, Wanted, decide
from tests.sandbox.egress.ground import Server, gate_for, loopback_proxy, rule, rules, serving

if TYPE_CHECKING:
    from policies.network_block import NetworkBlock
    from sandbox.egress.events import Decided


def network(rule_text: str, more: str = "") -> NetworkBlock:
    """Return the network block of a policy with one rule."""
    text = f"version: 1\nname: x\ngrant: [network]\nnetwork: {{allow: [{{{rule_text}}}]{more}}}\n"
    found = parse_policy(text, origin="test.yaml").network
    assert found is not None
    return found


async def asked_through(port: int, to: int, path: str = "/") -> bytes:
    """Ask the proxy for a page in the absolute form and return everything that it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = f"GET http://127.0.0.1:{to}{path} HTTP/1.1\r\nHost: 127.0.0.1:{to}\r\nConnection: close\r\n\r\n"
    writer.write(asked.encode())
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


def test_a_policy_writes_protocol_approval_and_bounds_of_a_rule() -> None:
    block = network(
        "host: a.example.com, protocol: tcp, ask: true, limits: {sent_bytes: 1KiB, connection_time: 5s}",
        ", limits: {requests: 7, connections: 3, connection_time: 1m}",
    )

    found = RuleSet.of(block)

    session = Limits(requests=7, connections=3, connection_seconds=60.0)
    assert found.limits == session
    assert (found.rules[0].protocol, found.rules[0].ask) == ("tcp", True)
    assert found.rules[0].limits == Limits(sent_bytes=1024, requests=7, connections=3, connection_seconds=5.0)


def test_joined_rules_ask_when_one_asks_and_have_the_smaller_bounds() -> None:
    head = "version: 1\nname: x\ngrant: [network]\nnetwork: "
    one = parse_policy(
        head + "{allow: [{host: a.com, protocol: tcp, ask: true, limits: {requests: 3}}]}\n", origin="one"
    )
    other = parse_policy(
        head + "{allow: [{host: a.com, limits: {requests: 5, sent_bytes: 1B}}]}\n", origin="other"
    )

    both = join(one, other).network

    assert both is not None
    met = both.allow[0]
    assert (met.protocol, met.ask, met.limits.requests, met.limits.sent_bytes) == ("web", True, 3, 1)


def test_a_rule_that_reads_requests_is_not_passed_by_through_one_for_any_bytes() -> None:
    read, raw = rule("a.example", 443, methods=("GET",)), rule("a.example", 443, protocol="tcp")

    for order in ((read, raw), (raw, read)):
        found = decide(rules(*order), Wanted(scheme="tunnel", host="a.example", port=443))

        assert getattr(found, "by_request", None) is True


async def test_a_rule_that_asks_lets_through_what_a_person_approved_and_nothing_else() -> None:
    seen: list[tuple[str, str, str]] = []

    async def person(event: Decided, query: str) -> str:
        seen.append((event.method, event.path, query))
        return "" if event.path == "/yes" else "a person said no"

    async with (
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", server.port, ask=True)), approval=person, proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        yes = await asked_through(port, server.port, "/yes?q=1")
        no = await asked_through(port, server.port, "/no")

    assert yes.endswith(b"hello")
    assert b"403" in no.splitlines()[0]
    assert b'"code": "approval"' in no
    assert seen == [("GET", "/yes", "?q=1"), ("GET", "/no", "")]
    assert kept.verdicts == [("allowed", ""), ("denied", "approval")]
    assert len(server.heads) == 1
    assert "q=1" not in repr(kept.events)


async def test_a_rule_that_asks_is_a_no_when_there_is_nobody() -> None:
    async with (
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", server.port, ask=True)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        answer = await asked_through(port, server.port)

    assert b"nobody can be asked" in answer
    assert server.connections == 0


async def test_a_rules_own_budget_runs_out_and_the_others_go_on() -> None:
    few = Limits(requests=1)
    async with (
        serving(Server()) as scarce,
        serving(Server()) as plenty,
        gate_for(
            rules(rule("127.0.0.1", scarce.port, limits=few), rule("127.0.0.1", plenty.port)), proxy=True
        ) as kept,
        loopback_proxy(kept) as port,
    ):
        answers = [await asked_through(port, to.port) for to in (scarce, scarce, plenty, plenty)]

    assert [b"hello" in answer for answer in answers] == [True, False, True, True]
    assert b'"code": "budget"' in answers[1]
    assert b"the budget of rule `127.0.0.1` is spent: 1 requests" in answers[1]


async def test_what_is_told_of_a_connection_names_rule_action_path_and_status() -> None:
    async with serving(Server()) as server:
        own = rule("127.0.0.1", server.port)
        async with gate_for(rules(own), proxy=True) as kept, loopback_proxy(kept) as port:
            with kept.gate.during("0123456789ab/7"):
                await asked_through(port, server.port, "/page?secret=1")

    (opened,), (closed,) = kept.decided, kept.closed
    assert (opened.host, opened.method, opened.path, opened.rule, opened.action) == (
        "127.0.0.1",
        "GET",
        "/page",
        "127.0.0.1",
        "0123456789ab/7",
    )
    assert (closed.address, closed.rule, closed.method, closed.path, closed.status, closed.why) == (
        "127.0.0.1",
        own.name,
        "GET",
        "/page",
        200,
        "done",
    )
    assert closed.sent_bytes > 0
    assert closed.received_bytes > 0
    assert closed.action == "0123456789ab/7"
    assert "secret" not in repr(kept.events)
