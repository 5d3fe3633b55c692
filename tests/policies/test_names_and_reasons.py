"""Names, paths and hosts at their borders, and the whole reasons of the egress rules."""

from __future__ import annotations

from itertools import permutations

import pytest

from policies.commands import CommandPattern
from policies.decide import decide
from policies.egress import decide_http, preferred
from policies.errors import BadValueError, RuleAt
from policies.globs import LONGEST_PATH, canonical_path
from policies.hosts import HostPattern, canonical_host
from policies.request import ActionRequest, Denied, HttpUse, Reason, SessionFacts
from policies.source import parse_policy
from policies.urls import Target

UMLAUTS = "\u00fc" * 80
ELSEWHERE = "no approval adds a capability: use another session"


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("g *", "g a", "g a"),
        ("g *", "g a *", "g a *"),
        ("g *", "g *", "g *"),
        ("g *", "g", None),
        ("g *", "h a", None),
        ("g a *", "g b", None),
        ("g", "g a", None),
        ("g a", "g a b", None),
        ("g a", "g a *", None),
        ("g a", "g a", "g a"),
    ],
)
def test_two_names_of_commands_have_the_narrower_one_in_common_or_nothing(
    one: str, other: str, both: str | None
) -> None:
    expected = both and CommandPattern(both)

    assert CommandPattern(one).meet(CommandPattern(other)) == expected
    assert CommandPattern(other).meet(CommandPattern(one)) == expected


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("", "`` is not a path", f"1 to {LONGEST_PATH} characters, no NUL"),
        ("a\0", "`a\\u{0}` is not a path", f"1 to {LONGEST_PATH} characters, no NUL"),
        ("/etc", "`/etc` is outside the workspace", "use a relative path"),
        ("/workspaces/a", "`/workspaces/a` is outside the workspace", "use a relative path"),
        ("a/../b", "`a/../b` climbs with `..`", "name the path from the workspace's root"),
    ],
)
def test_what_is_no_path_of_the_workspace_is_told_whole(path: str, message: str, hint: str) -> None:
    with pytest.raises(BadValueError) as refused:
        canonical_path(path)

    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_the_longest_path_is_one_and_the_next_is_none() -> None:
    assert canonical_path("a" * LONGEST_PATH) == "a" * LONGEST_PATH
    with pytest.raises(BadValueError):
        canonical_path("a" * (LONGEST_PATH + 1))


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("b\u00fccher.de", "host `b\u00fccher.de` is not ASCII", "if it is meant, write `xn--bcher-kva.de`"),
        (UMLAUTS + UMLAUTS, f"host `{UMLAUTS[1:]}…` is not ASCII", "write its `xn--` form"),
        ("127.1", "`127.1` is not the name of a host", "an address has four decimal parts"),
        ("::ffff:1.2.3.4", "`::ffff:1.2.3.4` is another form of an address", "write the plain address"),
        ("fe80::1%eth0", "`fe80::1%eth0` is another form of an address", "write the plain address"),
        ("a..b", "`a..b` is not the name of a host", "as in `api.example.com`"),
    ],
)
def test_what_is_no_host_is_told_whole(name: str, message: str, hint: str) -> None:
    with pytest.raises(BadValueError) as refused:
        canonical_host(name)

    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_a_wildcard_of_hosts_needs_a_label_in_its_place() -> None:
    assert HostPattern("*.a.com").matches("x.a.com")
    assert not HostPattern("*.a.com").matches(".a.com")
    assert not HostPattern("*.a.com").matches("a.com")
    assert HostPattern("*.a.com").meet(HostPattern("*.x.a.com")) == HostPattern("*.x.a.com")
    assert HostPattern("*.a.com").meet(HostPattern("*.xa.com")) is None


def _reason(rules: str, host: str = "a.com", port: int = 443) -> Reason:
    text = f"version: 1\nname: p\ngrant: [network]\nnetwork:\n  allow: [{rules}]\n"
    found = decide_http(parse_policy(text, origin="p"), "GET", Target("https", host, port))
    assert isinstance(found, Reason)
    return found


def test_rules_that_name_different_credentials_are_told_whole() -> None:
    rules = "{host: a.com, credential: y}, {host: a.com, credential: x}"

    assert _reason(rules) == Reason(
        "host",
        "rules for `a.com` name different credentials: `x`, `y`",
        "make the rules' `methods:` or `paths:` disjoint",
        RuleAt("p", 5, 18),
    )


def test_five_hosts_are_shown_to_who_asks_another() -> None:
    rules = ", ".join(f"{{host: h{number}.com}}" for number in range(6))

    assert _reason(rules) == Reason(
        "host",
        "`a.com` is none of the hosts allowed: `h0.com`, `h1.com`, `h2.com`, `h3.com`, `h4.com`",
        "add `- host: a.com` to `network.allow`",
        RuleAt("p", 5, 3),
    )


def test_a_request_of_a_session_without_network_is_told_whole() -> None:
    policy = parse_policy("version: 1\nname: p\ngrant: []\ncommands: {allow: [x]}\n", origin="p")
    request = ActionRequest(command=("x",), http=(HttpUse("GET", "https://a.com/"),))

    decision = decide(policy, SessionFacts(grant=policy.grant, headless=False), request)

    at = RuleAt("p", 3, 1)
    assert decision == Denied(
        (
            Reason("capability", "session holds no capability; action `x` needs `network`", ELSEWHERE, at),
            Reason("capability", "session has no `network`; the request goes to `a.com`", ELSEWHERE, at),
        )
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ask: true", "credential: c"),
        ("credential: c", ""),
        ("private: true", ""),
        ("limits: {sent_bytes: 1B}", ""),
        ("limits: {sent_bytes: 1B}", "limits: {sent_bytes: 2B}"),
        ("limits: {sent_bytes: 1B}", "limits: {received_bytes: 1B}"),
    ],
)
def test_which_of_several_rules_holds_does_not_depend_on_their_order(first: str, second: str) -> None:
    for order in permutations([first, second]):
        rules = ", ".join("{host: a.com" + (f", {rule}" if rule else "") + "}" for rule in order)
        text = f"version: 1\nname: p\ngrant: [network]\nnetwork: {{allow: [{rules}]}}\n"
        policy = parse_policy(text, origin="p")

        assert policy.network is not None
        assert policy.network.allow.index(preferred(policy.network.allow)) == order.index(first)
