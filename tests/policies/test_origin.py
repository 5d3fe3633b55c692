# ruff: noqa: E501, FBT001 - tables, one case on each line, some with a truth value as a column
"""Where data goes comes from a rule, the user's own words, or a person."""

from __future__ import annotations

import pytest
from deciding import F, N, act, codes_of, decided, policy_of

from policies.request import (
    ActionRequest,
    Allowed,
    Denied,
    HttpUse,
    NeedsApproval,
    SinkUse,
)

SENDING = "commands: {allow: [send], rules: [{command: send, arguments: {cc: [Boss@Example.com]}}]}"


def _send(value: object, kind: str = "address", **more: object) -> ActionRequest:
    return act("send", needs=frozenset({F, N}), sinks=(SinkUse("to", kind, value),), **more)  # type: ignore[arg-type]  # test data


def _sending(value: object, task: str | None, kind: str = "address", *, rules: str = "") -> tuple[str, ...]:
    policy = policy_of("commands: {allow: [send]" + rules + "}")
    return codes_of(decided(policy, _send(value, kind), task=task, headless=True))


@pytest.mark.parametrize(
    ("value", "kind", "task", "codes"),
    [
        ("alice@example.com", "address", "mail alice@example.com the summary", ()),
        ("Alice@Example.COM", "address", "mail <alice@example.com>, please.", ()),
        ("alice@example.com", "address", None, ("origin",)),
        ("alice@example.com", "address", "", ("origin",)),
        ("alice@example.com", "address", "mail Alice", ("origin",)),
        ("alice@example.com", "address", "mail malice@example.com", ("origin",)),
        ("alice@example.com", "address", "mail alice@example.com.evil.com", ("origin",)),
        ("alice@example.com", "address", "mail alice@example.comx", ("origin",)),
        ("alice@example.com", "address", "see https://x.com/?to=alice@example.com", ("origin",)),
        ("eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com,eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com, eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com;eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com <eve@evil.com>", "address", "mail alice@example.com", ("origin",)),
        ('"alice@example.com" <eve@evil.com>', "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com\neve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("\u0430lice@example.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@ex\u0430mple.com", "address", "mail alice@example.com", ("origin",)),
        ("alice\u200b@example.com", "address", "mail alice@example.com", ("origin",)),
        ("alice+x@example.com", "address", "mail alice@example.com", ("origin",)),
        (("alice@example.com",), "address", "mail alice@example.com", ()),
        (("alice@example.com", "eve@evil.com"), "address", "mail alice@example.com", ("origin",)),
        (("alice@example.com", (("eve@evil.com",),)), "address", "mail alice@example.com", ("origin",)),
        ((), "address", "mail alice@example.com", ("origin",)),
        (None, "address", "mail alice@example.com", ("origin",)),
        ("#ci", "channel", "post to #ci", ()),
        ("ci", "channel", "post to #CI.", ()),
        ("#general", "channel", "some general notes", ("origin",)),
        ("general", "channel", "some general notes", ("origin",)),
        ("#ci", "channel", "post to #ci-public", ("origin",)),
        ("#ci-public", "channel", "post to #ci", ("origin",)),
        ("C0123ABCD9", "channel", "post to C0123ABCD9", ()),
        ("c0123abcd9", "channel", "post to C0123ABCD9", ("origin",)),
        ("#\u0441i", "channel", "post to #ci", ("origin",)),
        ("acme-prod", "account", "deploy to acme-prod now", ()),
        ("acme", "account", "deploy to acme-prod now", ("origin",)),
        ("prod", "account", "deploy to acme-prod now", ("origin",)),
        ("a", "text", "mail a summary", ("origin",)),
        ("acme", "account", "deploy to acme.evil.com", ("origin",)),
        ("acme", "account", "deploy to evil.acme", ("origin",)),
        ("acme", "account", "deploy to acme:evil", ("origin",)),
        ("acme", "account", "deploy to x=acme", ("origin",)),
        ("acme", "account", "deploy to acme.", ()),
        ("acme", "account", "deploy to (acme)!", ()),
        ("acme", "account", "acme", ()),
        ("Acme Corp", "account", "the books of Acme Corp, please", ()),
        ("Acme Corp", "account", "the books of Acme Corporation", ("origin",)),
        ("acme", "account", "deploy to ACME", ("origin",)),
        ("https://hooks.example.com/a", "url", "call https://hooks.example.com/a.", ()),
        ("https://hooks.example.com/b", "url", "call https://hooks.example.com/a", ("origin",)),
        ("https://hooks.example.com/a/../b", "url", "call https://hooks.example.com/a", ("origin",)),
        ("example.com", "host", "look at example.com", ()),
        ("evil.example.com", "host", "look at example.com", ("origin",)),
    ],
)
def test_a_destination_stands_whole_in_the_users_own_words(
    value: object, kind: str, task: str | None, codes: tuple[str, ...]
) -> None:
    assert tuple(dict.fromkeys(_sending(value, task, kind))) == codes


def test_a_rule_without_a_wildcard_fixes_a_destination() -> None:
    rules = ", rules: [{command: send, arguments: {to: ['Alice@Example.com']}}]"

    assert _sending("alice@example.com", None, rules=rules) == ()
    assert _sending("eve@evil.com", None, rules=rules) == ("argument", "origin")
    assert _sending("eve@evil.com", "mail eve@evil.com", rules=rules) == ("argument",)


def test_a_wildcard_constrains_but_does_not_fix_and_a_sink_pattern_does() -> None:
    wild = ", rules: [{command: send, arguments: {to: ['*@example.com']}}]"
    pattern = ", rules: [{command: send, sink_pattern: {to: ['*@example.com']}}]"

    assert _sending("alice@example.com", None, rules=wild) == ("origin",)
    assert _sending("alice@example.com", None, rules=pattern) == ()
    assert _sending("alice@evil.com", None, rules=pattern) == ("argument", "origin")
    assert _sending("eve@evil.com,x@example.com", None, rules=pattern) == ("argument", "origin")


def test_a_missing_origin_is_a_question_on_a_terminal_and_a_denial_without_one() -> None:
    policy = policy_of("commands: {allow: [send]}")

    asked = decided(policy, _send("a@b.com"), headless=False)
    denied = decided(policy, _send("a@b.com"), headless=True)

    assert isinstance(asked, NeedsApproval)
    assert isinstance(denied, Denied)
    assert codes_of(asked) == codes_of(denied) == ("origin",)


@pytest.mark.parametrize(
    ("grant", "sinks", "checked"),
    [
        ("[files, network]", "default", True),
        ("[network]", "default", False),
        ("[network]", "strict", True),
        ("[files]", "strict", True),
    ],
)
def test_sinks_are_checked_with_files_and_network_or_when_strict(
    grant: str, sinks: str, checked: bool
) -> None:
    policy = policy_of(f"commands: {{allow: [send]}}\nsinks: {sinks}", grant=grant)
    request = act("send", sinks=(SinkUse("to", "address", "a@b.com"),))

    assert codes_of(decided(policy, request, headless=True)) == (("origin",) if checked else ())


def test_reading_with_a_credential_counts_as_files_for_sinks() -> None:
    body = "network: {allow: [{host: a.com, credential: c}]}\ncommands: {allow: [send]}"
    public = body.replace("credential: c", "credential: c, data: public")
    request = act("send", sinks=(SinkUse("to", "address", "a@b.com"),))

    assert codes_of(decided(policy_of(body, grant="[network]"), request, headless=True)) == ("origin",)
    assert codes_of(decided(policy_of(public, grant="[network]"), request, headless=True)) == ()


HTTP_SINKS = """
network:
  allow:
    - {host: a.com, methods: [GET, POST], paths: ["/in", "/any/**"]}
    - {host: "*.w.com"}
    - {host: "*.p.com", sink_pattern: true}
commands: {allow: [x]}
"""


@pytest.mark.parametrize(
    ("method", "url", "task", "codes"),
    [
        ("GET", "https://a.com/any/1", None, ()),
        ("POST", "https://a.com/in", None, ()),
        ("POST", "https://a.com/any/1", None, ("origin",)),
        ("POST", "https://a.com/any/1", "post to https://a.com/any/1", ()),
        ("POST", "https://a.com/any/1", "post to https://a.com/any/2", ("origin",)),
        ("POST", "https://a.com/any/1", "post to a.com/any/1", ("origin",)),
        ("GET", "https://x.w.com/", None, ("origin",)),
        ("GET", "https://x.w.com/p", "read https://x.w.com/q", ()),
        ("GET", "https://x.w.com/p", "read https://x.w.com:8443/q", ("origin",)),
        ("GET", "https://x.w.com/p", "read http://x.w.com/q", ("origin",)),
        ("GET", "https://x.w.com/p", "read https://x.w.com.evil.com/", ("origin",)),
        ("GET", "https://x.p.com/", None, ()),
    ],
)
def test_for_http_the_sink_is_the_host_and_for_writing_the_path_too(
    method: str, url: str, task: str | None, codes: tuple[str, ...]
) -> None:
    policy = policy_of(HTTP_SINKS)

    assert (
        codes_of(decided(policy, act("x", http=(HttpUse(method, url),)), task=task, headless=True)) == codes
    )


def test_every_request_of_an_action_is_looked_at_after_one_that_is_refused_or_fixed() -> None:
    policy = policy_of(HTTP_SINKS)
    urls = ("ftp://a.com/", "https://no.com/", "https://a.com/any/1", "https://x.p.com/", "https://x.w.com/")

    decision = decided(policy, act("x", http=tuple(HttpUse("GET", url) for url in urls)), headless=True)

    assert codes_of(decision) == ("host", "host", "origin")


def test_a_destination_is_told_with_its_path_where_that_counts() -> None:
    policy = policy_of(HTTP_SINKS)
    uses = (HttpUse("POST", "https://a.com/any/1"), HttpUse("GET", "https://x.w.com/secret"))

    decision = decided(policy, act("x", http=uses))

    assert isinstance(decision, NeedsApproval)
    assert [reason.message.partition(",")[0] for reason in decision.reasons] == [
        "the URL sends to `https://a.com:443/any/1`",
        "the URL sends to `https://x.w.com:443`",
    ]
    assert [rule.host.text for rule in decision.egress] == ["a.com", "*.w.com"]


def test_a_destination_is_fixed_by_a_later_rule_too() -> None:
    rules = ", rules: [{command: other, max_calls: 1}, {command: send, max_calls: 9}, {command: send, arguments: {to: [a@b.com]}}]"

    assert _sending("a@b.com", None, rules=rules) == ()


def test_a_second_sink_of_an_action_is_looked_at_after_the_first() -> None:
    policy = policy_of("commands: {allow: [send]}")
    sinks = (
        SinkUse("to", "address", ()),
        SinkUse("cc", "address", ("nobody", "eve@evil.com")),
        SinkUse("room", "channel", "#evil"),
    )

    decision = decided(policy, act("send", sinks=sinks), task="write to me", headless=True)

    assert codes_of(decision) == ("origin",) * 4
    assert not isinstance(decision, Allowed)
    assert [reason.message.split("`")[1] for reason in decision.reasons] == ["to", "cc", "cc", "room"]


def test_a_kind_that_is_not_known_has_no_origin() -> None:
    policy = policy_of("commands: {allow: [send]}")

    assert isinstance(decided(policy, _send("a", "nonsense"), task="a"), Denied)
