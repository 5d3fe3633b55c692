# ruff: noqa: E501 - a table of disguised destinations, one on each line
"""Destinations in disguise: only a value that is whole, and the user's own or a rule's, passes without a person."""

from __future__ import annotations

import pytest

from policies.capability import Capability
from policies.decide import decide
from policies.request import (
    ActionRequest,
    Allowed,
    ArgumentValue,
    Denied,
    HttpUse,
    NeedsApproval,
    SessionFacts,
    SinkKind,
    SinkUse,
)
from policies.source import parse_policy

F, N = Capability.FILES, Capability.NETWORK
HEAD = "version: 1\nname: p\ngrant: [files, network]\n"


def _codes(
    value: ArgumentValue, kind: SinkKind, task: str | None, *, commands: str = "{allow: [send]}"
) -> set[str]:
    policy = parse_policy(f"{HEAD}commands: {commands}\n", origin="p.yaml")
    request = ActionRequest(
        command=("send",),
        needs=frozenset({F, N}),
        sinks=(SinkUse("to", kind, value),),
        arguments={"to": value},
    )
    decision = decide(policy, SessionFacts(grant=policy.grant, task=task, headless=True), request)
    return set() if isinstance(decision, Allowed) else {reason.code for reason in decision.reasons}


@pytest.mark.parametrize(
    ("value", "kind", "task"),
    [
        ("brien@example.com", "address", "write to o'brien@example.com"),
        ("b@example.com", "address", "write to a|b@example.com"),
        ("b@example.com", "address", "write to {a}b@example.com"),
        ("b@example.com", "address", "write to a`b@example.com"),
        ("alice@example.com", "address", "the header said from:alice@example.com"),
        ("alice@example.com", "address", "look at https://x.com/alice@example.com"),
        ("alice@example.com", "address", "alice@example.com@evil.com"),
        ("alice@example.com", "address", "alice at example.com"),
        ("ALICE+x@example.com", "address", "write to alice@example.com"),
        ("alice@example.com.", "address", "write to alice@example.com.evil.org"),
        ("alice@\u0435xample.com", "address", "write to alice@example.com"),
        ("alice@xn--xample-2of.com", "address", "write to alice@example.com"),
        ("alic\u0435@example.com", "address", "write to alice@example.com"),
        ("\uff41lice@example.com", "address", "write to alice@example.com"),
        ("alice@example\u3002com", "address", "write to alice@example.com"),
        ("Alice <alice@example.com>", "address", "write to alice@example.com"),
        ("<alice@example.com>", "address", "write to alice@example.com"),
        ("alice@example.com eve@evil.com", "address", "write to alice@example.com"),
        ("alice@example.com\teve@evil.com", "address", "write to alice@example.com"),
        ("alice@example.com\r\nBcc: eve@evil.com", "address", "write to alice@example.com"),
        ("alice@example.com%0abcc:eve@evil.com", "address", "write to alice@example.com"),
        ("alice@example.com(eve@evil.com)", "address", "write to alice@example.com"),
        ("eve%example.com@evil.com", "address", "write to eve@example.com"),
        ("example.com!eve", "address", "write to eve@example.com"),
        ("alice@[192.0.2.1]", "address", "write to alice@example.com"),
        ("=?utf-8?q?alice?=@example.com", "address", "write to alice@example.com"),
        (["alice@example.com", "eve@evil.com"], "address", "write to alice@example.com"),
        ([["alice@example.com"], [["eve@evil.com"]]], "address", "write to alice@example.com"),
        (["alice@example.com", None, "eve@evil.com"], "address", "write to alice@example.com"),
        (["alice@example.com", True], "address", "write to alice@example.com"),
        (["alice@example.com", 7], "address", "write to alice@example.com"),
        ('["alice@example.com"]', "address", "write to alice@example.com"),
        ("#ci\u200b", "channel", "post to #ci"),
        ("#c\u0456", "channel", "post to #ci"),
        ("#ci,#general", "channel", "post to #ci"),
        ("#ci #general", "channel", "post to #ci"),
        ("<#C0123ABCD9|general>", "channel", "post to C0123ABCD9"),
        ("@ci", "channel", "post to #ci"),
        ("#ci", "channel", "see https://example.com/page#ci"),
        ("#ci", "channel", "colour #ci-0f0"),
        ("#12", "channel", "fix issue 12"),
        ("Neil", "account", "the account of O'Neil"),
        ("acme", "account", "deploy acme,evil"),
        ("acme", "account", "deploy acme|evil"),
        ("acme", "account", "deploy acme\u0301"),
        ("\u0430cme", "account", "deploy acme"),
        ("prod", "account", "deploy (acme)prod"),
        ("https://x.com/a", "url", "call https://x.com/a,b"),
        ("https://x.com/a", "url", "call https://x.com/a;v=1"),
        ("https://x.com/a_", "url", "call https://x.com/a_(b)"),
        ("https://x.com/a", "url", "call https://x.com/a%2Fb"),
        ("https://x.com/A", "url", "call https://x.com/a"),
        ("http://x.com/a", "url", "call https://x.com/a"),
        ("https://x.com:8443/a", "url", "call https://x.com/a"),
        ("https://x.com@evil.com/a", "url", "call https://x.com/a"),
        ("https://x.com\\@evil.com/a", "url", "call https://x.com/a"),
        ("https://evil.com/?https://x.com/a", "url", "call https://x.com/a"),
        ("https://evil.com/#https://x.com/a", "url", "call https://x.com/a"),
        ("https://x.com./../a", "url", "call https://x.com/a"),
        ("https://x\uff0ecom/a", "url", "call https://x.com/a"),
        ("x.com", "host", "look at www.x.com"),
        ("x.com", "host", "look at x.community"),
        ("x.com", "host", "mail me@x.com"),
        ("2130706433", "host", "look at 127.0.0.1"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_disguised_or_partial_destination_has_no_origin(
    value: ArgumentValue, kind: SinkKind, task: str
) -> None:
    assert _codes(value, kind, task) == {"origin"}


@pytest.mark.parametrize(
    ("value", "kind", "task"),
    [
        ("o'brien@example.com", "address", "write to o'brien@example.com"),
        ("O'Brien@Example.com", "address", "write to 'o'brien@example.com'."),
        ("alice@example.com", "address", "write to Alice<alice@example.com>, please"),
        ("alice@example.com", "address", "to alice@example.com,bob@example.com"),
        ("bob@example.com", "address", "to alice@example.com;bob@example.com"),
        ("alice@example.com", "address", "**alice@example.com**"),
        ("alice+x@example.com", "address", "alice+x@example.com"),
        ("alice@xn--exmple-cua.com", "address", "to alice@xn--exmple-cua.com"),
        (["alice@example.com", ["bob@example.com"]], "address", "to alice@example.com and bob@example.com"),
        ("#ci", "channel", "post to #ci,#dev"),
        ("#dev", "channel", "(#ci, #dev)"),
        ("O'Neil", "account", "the account of O'Neil."),
        ("acme", "account", 'deploy "acme", then tell me'),
        ("https://x.com/a,b", "url", "call https://x.com/a,b"),
        ("https://x.com/a?q=1", "url", "(https://x.com/a)"),
        ("HTTPS://X.COM./a", "url", "call https://x.com:443/a!"),
        ("x.com", "host", "look at x.com, then stop"),
    ],
    ids=repr,
)  # fmt: skip
def test_twin_what_the_user_wrote_whole_is_an_origin(value: ArgumentValue, kind: SinkKind, task: str) -> None:
    assert _codes(value, kind, task) == set()


@pytest.mark.parametrize(
    "value",
    ["eve@evil.com", "boss@example.com,eve@evil.com", "boss@example.com.evil.com", "b\u043ess@example.com", ["boss@example.com", "eve@evil.com"]],
    ids=repr,
)  # fmt: skip
def test_a_rule_fixes_its_own_values_and_nothing_like_them(value: ArgumentValue) -> None:
    commands = "{allow: [send], rules: [{command: send, arguments: {to: [boss@example.com]}}]}"

    assert "origin" in _codes(value, "address", "write to everybody", commands=commands)
    assert _codes("Boss@Example.com", "address", None, commands=commands) == set()


HOOK = (
    HEAD
    + "network: {allow: [{host: x.com, methods: [POST]}, {host: y.com, methods: [POST], paths: [/in]}]}\ncommands: {allow: [http post]}\n"
)


@pytest.mark.parametrize(
    ("url", "task"),
    [
        ("https://x.com/b", "post to https://x.com/a"),
        ("https://x.com/a/b", "post to https://x.com/a"),
        ("https://x.com/a", "post to https://x.com/a;b"),
        ("https://x.com/a", "post to https://x.com/a,b"),
        ("https://x.com/a", "post to x.com/a"),
        ("https://x.com/", "post to https://x.com.evil.com/"),
        ("https://x.com/a", "post to http://x.com/a"),
        ("https://x.com/a", "post to https://eve@x.com/a"),
    ],
)
def test_a_request_that_writes_goes_only_where_the_whole_url_was_named(url: str, task: str) -> None:
    policy = parse_policy(HOOK, origin="p.yaml")
    request = ActionRequest(command=("http", "post"), needs=frozenset({N}), http=(HttpUse("POST", url),))

    headless = decide(policy, SessionFacts(grant=policy.grant, task=task, headless=True), request)
    asked = decide(policy, SessionFacts(grant=policy.grant, task=task, headless=False), request)

    assert isinstance(headless, Denied)
    assert isinstance(asked, NeedsApproval)
    assert [reason.code for reason in headless.reasons] == ["origin"]
    assert policy.network is not None
    assert asked.reasons[0].rule == policy.network.allow[0].at


@pytest.mark.parametrize(
    ("url", "task"), [("https://x.com/a", "post to https://x.com/a."), ("https://y.com/in", None)]
)
def test_twin_a_request_to_the_named_url_or_a_fixed_path_passes(url: str, task: str | None) -> None:
    policy = parse_policy(HOOK, origin="p.yaml")
    request = ActionRequest(command=("http", "post"), needs=frozenset({N}), http=(HttpUse("POST", url),))

    decision = decide(policy, SessionFacts(grant=policy.grant, task=task, headless=True), request)

    assert isinstance(decision, Allowed)
