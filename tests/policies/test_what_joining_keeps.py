"""What a joined policy takes from its two sides: the stricter word, the places, lists in one order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deciding import policy_of

from policies.errors import RuleAt
from policies.join import join
from policies.join_network import MOST_RULES, JoinedRule, meet_networks, meet_rules, narrowed_network
from policies.meeting import widest
from policies.network_block import NetworkBlock
from policies.source import parse_policy

if TYPE_CHECKING:
    from policies.network_block import EgressRule


def _rule(text: str) -> EgressRule:
    policy = parse_policy(
        f"version: 1\nname: p\ngrant: [network]\nnetwork: {{allow: [{text}]}}\n", origin="p", resolved=True
    )
    assert policy.network is not None
    return policy.network.allow[0]


def _met(one: str, other: str) -> EgressRule:
    met = meet_rules(_rule(one), _rule(other))
    assert met is not None
    assert met == meet_rules(_rule(other), _rule(one))
    return met


@pytest.mark.parametrize("grant", ["[files, network]", "[files]"])
def test_strict_sinks_of_either_side_stay_strict(grant: str) -> None:
    strict, default = policy_of("sinks: strict\n", grant=grant), policy_of("", grant=grant)

    assert [join(one, other).sinks for one, other in ((strict, default), (default, strict))] == ["strict"] * 2
    assert join(default, default).sinks == "default"


def test_a_setting_keeps_the_place_where_it_was_written_the_first_side_before_the_second() -> None:
    first = parse_policy("version: 1\nname: a\nbudget: {turns: 5}\n", origin="first")
    second = parse_policy("version: 1\nname: b\n\nbudget: {turns: 5, tokens: 7}\n", origin="second")

    joined = join(first, second)

    assert joined.place("budget.turns") == RuleAt("first", 3, 10)
    assert joined.place("budget.tokens") == RuleAt("second", 4, 20)
    assert dict(joined.closure) == {**dict(first.closure), **dict(second.closure)}
    assert set(dict(joined.closure)) == {"first", "second"}


@pytest.mark.parametrize(("one", "other"), [("", ", ask: true"), (", ask: true", "")])
def test_a_request_that_either_side_asks_for_is_asked_for(one: str, other: str) -> None:
    assert _met(f"{{host: a.com{one}}}", f"{{host: a.com{other}}}").ask
    assert not _met("{host: a.com}", "{host: a.com}").ask


def test_lists_of_paths_are_written_in_one_order_however_they_were_joined() -> None:
    texts = [f"/{letter}/**" for letter in "fbdace"]
    met = _rule(f"{{host: a.com, paths: ['{texts[0]}']}}")
    for text in texts[1:]:
        found = meet_rules(met, _rule(f"{{host: a.com, paths: ['{text}']}}"))
        assert found is not None
        met = found

    assert [[path.text for path in group] for group in met.path_groups] == [[text] for text in sorted(texts)]


@pytest.mark.parametrize(
    ("one", "other", "unfixed"),
    [
        ("{host: '*.a.com'}", "{host: '*.a.com'}", None),
        ("{host: '*.a.com'}", "{host: x.a.com}", "all"),
        ("{host: '*.a.com', paths: [/x]}", "{host: '*.a.com', paths: [/x]}", None),
        ("{host: a.com}", "{host: a.com}", None),
        ("{host: a.com}", "{host: a.com, paths: [/x]}", "writes"),
        ("{host: a.com}", "{host: a.com, also: [[/x]]}", "writes"),
        ("{host: a.com, paths: [/x]}", "{host: a.com, also: [[/x]]}", None),
        ("{host: a.com, paths: [/x]}", "{host: a.com, paths: [/x]}", None),
        ("{host: '*.a.com', sink_pattern: true}", "{host: x.a.com}", None),
        ("{host: x.a.com, unfixed: all}", "{host: x.a.com}", "all"),
        ("{host: x.a.com, unfixed: writes}", "{host: x.a.com, paths: [/x]}", "writes"),
    ],
)
def test_a_joined_rule_says_what_it_does_not_fix_only_where_it_would_seem_to(
    one: str, other: str, unfixed: str | None
) -> None:
    """A POST to a path that only one side names is not fixed by the rule in which both are joined."""
    assert _met(one, other).unfixed == unfixed


def test_a_pattern_that_both_accept_as_a_destination_stays_accepted_whatever_else_they_bound() -> None:
    body = "commands: {{allow: [send], rules: [{{command: send, sink_pattern: {{to: ['*@b.com']}}{}}}]}}\n"
    one, other = policy_of(body.format("")), policy_of(body.format(", max_calls: 3"))
    free = policy_of("commands: {allow: [send], rules: [{command: send, max_calls: 3}]}\n")

    both, only_one = join(one, other).commands.origins, join(one, free).commands.origins

    assert only_one == ()
    assert both is not None
    assert [
        (
            rule.command.text,
            rule.arguments,
            {name: [v.text for v in vs] for name, vs in rule.sink_pattern.items()},
        )
        for rule in both
    ] == [("send", {}, {"to": ["*@b.com"]})]


def _block(text: str) -> NetworkBlock:
    policy = parse_policy(f"version: 1\nname: p\ngrant: [network]\nnetwork: {{{text}}}\n", origin="p")
    assert policy.network is not None
    return policy.network


def test_what_is_denied_stays_denied_below_where_the_hosts_are_those_of_the_base() -> None:
    base = _block("allow: [{host: '*.a.com'}], deny: [x.a.com], limits: {requests: 9, sent_bytes: 5B}")
    own = _block("allow: [{host: '*.a.com'}], deny: [y.a.com], limits: {requests: 4, sent_bytes: 8B}")

    narrowed = narrowed_network(own, base)

    assert {host.text for host in narrowed.deny} == {"x.a.com", "y.a.com"}
    assert (narrowed.limits.requests, narrowed.limits.sent_bytes) == (4, 5)
    assert narrowed.allow == base.allow
    assert narrowed == meet_networks(own, base)


@pytest.mark.parametrize("turned", [False, True])
def test_a_side_without_hosts_leaves_none(turned: bool) -> None:  # noqa: FBT001 - which side has them
    sides = (_block("allow: [{host: a.com}]"), None)

    assert narrowed_network(*(reversed(sides) if turned else sides)).allow == ()
    assert narrowed_network(None, None) == NetworkBlock()


def test_a_rule_that_had_a_credential_covers_none_that_lost_it() -> None:
    """Its requests are read all the same, and so written with their methods."""
    wide = _rule("{host: a.com, paths: ['/x'], credential: c}")
    narrow = _rule("{host: a.com, paths: ['/x']}")

    assert JoinedRule(wide).manner == JoinedRule(narrow).manner
    assert meet_rules(narrow, wide) != narrow
    assert not JoinedRule(wide).covers(JoinedRule(narrow))
    assert JoinedRule(narrow).covers(JoinedRule(narrow))


def test_as_many_rules_as_may_be_joined_are_joined() -> None:
    many = NetworkBlock(allow=tuple(_rule(f"{{host: h{number}.a.com}}") for number in range(MOST_RULES // 2)))
    two = NetworkBlock(allow=(_rule("{host: '*.a.com'}"), _rule("{host: '*.a.com', ask: true}")))

    assert len(meet_networks(many, two).allow) == MOST_RULES


def test_what_another_covers_is_left_out_whichever_comes_first() -> None:
    def shorter(one: str, other: str) -> str | None:
        both = sorted((one, other), key=len)
        return both[1] if both[1].startswith(both[0]) else None

    assert widest(["ab", "a", "b", "bcd"], shorter) == ("a", "b")
    assert widest(["a", "ab"], shorter) == ("a",)
