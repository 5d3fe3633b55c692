"""Joining policies fixes no destination that one of them does not fix; extending one is joining with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from policies.capability import Capability
from policies.decide import decide
from policies.expectations import verdict_of
from policies.join import join
from policies.request import ActionRequest, HttpUse, SessionFacts, SinkUse
from policies.source import SourceText, parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

NEEDS = frozenset({Capability.FILES, Capability.NETWORK})
HEAD = "version: 1\nname: p\ngrant: [files, network]\n"


def _policy(body: str) -> Policy:
    return parse_policy(HEAD + body, origin="p.yaml")


def _extending(base: str, child: str) -> Policy:
    return parse_policy(
        f"version: 1\nname: c\nextends: base\n{child}",
        origin="c.yaml",
        find=lambda _: SourceText("base.yaml", HEAD + base),
    )


def _verdict(policy: Policy, request: ActionRequest) -> str:
    return verdict_of(decide(policy, SessionFacts(grant=policy.grant, headless=False), request))


def _send(to: str) -> ActionRequest:
    return ActionRequest(
        command=("send",), needs=NEEDS, arguments={"to": to}, sinks=(SinkUse("to", "address", to),)
    )


def _http(method: str, url: str) -> ActionRequest:
    return ActionRequest(command=("ask",), needs=NEEDS, http=(HttpUse(method, url),))


FREE = "commands: {allow: [send]}\n"
FIXED = "commands: {allow: [send], rules: [{command: send, arguments: {to: [a@b.com]}}]}\n"
TWO = "commands: {allow: [send], rules: [{command: send, arguments: {to: [a@b.com, c@d.com]}}]}\n"
PATTERN = "commands: {allow: [send], rules: [{command: send, sink_pattern: {to: ['*@b.com']}}]}\n"


@pytest.mark.parametrize(
    ("one", "other", "to", "verdict"),
    [
        (FREE, FREE, "a@b.com", "ask"),
        (FIXED, FREE, "a@b.com", "ask"),
        (FIXED, FIXED, "a@b.com", "allow"),
        (FIXED, TWO, "a@b.com", "allow"),
        (FIXED, TWO, "c@d.com", "deny"),
        (TWO, TWO, "c@d.com", "allow"),
        (PATTERN, PATTERN, "x@b.com", "allow"),
        (PATTERN, FREE, "x@b.com", "ask"),
    ],
)
def test_a_destination_is_fixed_when_both_fix_it(one: str, other: str, to: str, verdict: str) -> None:
    for joined in (join(_policy(one), _policy(other)), join(_policy(other), _policy(one))):
        assert _verdict(joined, _send(to)) == verdict
        assert _verdict(parse_policy(joined.as_yaml(), origin="again", resolved=True), _send(to)) == verdict


@pytest.mark.parametrize(
    ("base", "rules", "to", "verdict"),
    [
        (FREE, "[{command: send, arguments: {to: [eve@evil.com]}}]", "eve@evil.com", "ask"),
        (FREE, "[{command: send, sink_pattern: {to: ['*@evil.com']}}]", "eve@evil.com", "ask"),
        (TWO, "[{command: send, arguments: {to: [a@b.com]}}]", "a@b.com", "allow"),
        (TWO, "[{command: send, arguments: {to: [a@b.com]}}]", "c@d.com", "deny"),
        (TWO, "[{command: send, max_calls: 3}]", "c@d.com", "allow"),
        (FIXED, "[{command: send, arguments: {to: [eve@evil.com]}}]", "eve@evil.com", "deny"),
        (FIXED, "[]", "a@b.com", "allow"),
    ],
)
def test_who_extends_a_policy_fixes_no_destination_for_it(
    base: str, rules: str, to: str, verdict: str
) -> None:
    policy = _extending(base, f"commands: {{allow: [send], rules: {rules}}}\n")

    assert _verdict(policy, _send(to)) == verdict


WILD = "{host: '*.a.com'}"
EXACT = "{host: x.a.com}"
OPEN = "{host: x.a.com, methods: [GET, POST]}"
ANY = "{host: x.a.com, methods: [GET, POST], paths: ['/in/**']}"
ONE = "{host: x.a.com, methods: [GET, POST], paths: [/in/1]}"
ACCEPTED = "{host: '*.a.com', methods: [GET, POST], sink_pattern: true}"


@pytest.mark.parametrize(
    ("one", "other", "method", "verdict"),
    [
        (EXACT, EXACT, "GET", "allow"),
        (WILD, EXACT, "GET", "ask"),
        (f"{WILD}, {EXACT}", EXACT, "GET", "allow"),
        (f"{WILD}, {EXACT}", WILD, "GET", "ask"),
        (ONE, ONE, "POST", "allow"),
        (ANY, ONE, "POST", "ask"),
        (OPEN, ONE, "POST", "ask"),
        (OPEN, ONE, "GET", "allow"),
        (OPEN, OPEN, "POST", "ask"),
        (ACCEPTED, ACCEPTED, "POST", "allow"),
        (ACCEPTED, OPEN, "POST", "ask"),
        (ACCEPTED, OPEN, "GET", "allow"),
        (WILD, ACCEPTED, "GET", "ask"),
    ],
)
def test_a_requests_destination_is_fixed_when_both_fix_it(
    one: str, other: str, method: str, verdict: str
) -> None:
    body = "network: {{allow: [{}]}}\ncommands: {{allow: [ask]}}\n"
    first, second = _policy(body.format(one)), _policy(body.format(other))
    request = _http(method, "https://x.a.com/in/1")

    for joined in (join(first, second), join(second, first), join(join(first, second), first)):
        assert _verdict(joined, request) == verdict
        assert _verdict(parse_policy(joined.as_yaml(), origin="again", resolved=True), request) == verdict
    assert join(first, second) == join(second, first) == join(join(first, second), second)


def test_any_rule_that_allows_a_request_may_fix_where_it_goes_whatever_the_order() -> None:
    rules = ["{host: '*.a.com', credential: c}", EXACT]
    body = "network: {{allow: [{}]}}\ncommands: {{allow: [ask]}}\n"

    for order in (rules, rules[::-1]):
        policy = _policy(body.format(", ".join(order)))
        assert _verdict(policy, _http("GET", "https://x.a.com/")) == "allow"
        assert _verdict(policy, _http("GET", "https://y.a.com/")) == "ask"
