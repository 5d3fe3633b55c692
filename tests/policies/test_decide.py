# ruff: noqa: E501 - tables, one case on each line, some with a truth value as a column
"""Grants and commands: deny wins over ask, ask over allow; ceilings; any error is a denial."""

from __future__ import annotations

from itertools import chain, combinations, permutations

import pytest
from deciding import E, F, N, act, codes_of, decided, policy_of

from policies.capability import Capability, in_order
from policies.ceiling import parse_ceiling
from policies.errors import ForbiddenGrantError, RuleAt
from policies.grant import Grant
from policies.request import (
    ActionRequest,
    Allowed,
    Denied,
    HttpUse,
    NeedsApproval,
    PathUse,
)

SUBSETS = [
    frozenset(chosen) for chosen in chain.from_iterable(combinations(Capability, size) for size in range(4))
]


def named(chosen: frozenset[Capability]) -> str:
    """Name a set in the one order, so that every worker collects the same tests."""
    return "+".join(in_order(chosen)) or "none"


@pytest.mark.parametrize("grant", Grant)
@pytest.mark.parametrize("needs", SUBSETS, ids=named)
def test_an_action_passes_exactly_when_its_needs_are_held(grant: Grant, needs: frozenset[Capability]) -> None:
    held = "[" + ", ".join(capability.value for capability in grant.capabilities) + "]"
    image = "\nexec: {contents: public}" if grant is Grant.NETWORK_EXEC else ""
    policy = policy_of("commands: {allow: [act]}" + image, grant=held)

    decision = decided(policy, act("act", needs=needs))

    assert codes_of(decision) == (() if needs <= grant.capabilities else ("capability",))


@pytest.mark.parametrize("grant", Grant)
def test_a_session_that_holds_less_than_its_policy_gets_less(grant: Grant) -> None:
    policy = policy_of("commands: {allow: [act]}", grant="[files, network]")

    decision = decided(policy, act("act", needs=frozenset({F, N})), grant=grant)

    assert codes_of(decision) == (() if grant is Grant.FILES_NETWORK else ("capability",))


@pytest.mark.parametrize(
    ("use", "capability"),
    [
        ({"paths": (PathUse("a", "read"),)}, F),
        ({"http": (HttpUse("GET", "https://a.com/"),)}, N),
        ({"program": "sh"}, E),
    ],
)
def test_what_an_action_touches_counts_even_when_it_declares_no_need(
    use: dict[str, object], capability: Capability
) -> None:
    policy = policy_of("commands: {allow: [act]}", grant="[]")

    decision = decided(policy, act("act", **use))

    assert codes_of(decision)[0] == "capability"
    assert isinstance(decision, Denied)
    assert f"needs `{capability.value}`" in decision.reasons[0].message
    assert decision.reasons[0].rule == RuleAt("p.yaml", 3, 1)


@pytest.mark.parametrize(
    ("declared", "use", "held"),
    [
        (N, {"paths": (PathUse("a", "read"),)}, "[files]"),
        (F, {"http": (HttpUse("GET", "https://a.com/"),)}, "[network]\nnetwork: {allow: [{host: a.com}]}"),
        (F, {"program": "sh"}, "[exec]\nexec: {programs: any}"),
    ],
)
def test_what_an_action_touches_adds_to_what_it_declares(
    declared: Capability, use: dict[str, object], held: str
) -> None:
    policy = policy_of("commands: {allow: [act]}", grant=held)

    decision = decided(policy, act("act", needs=frozenset({declared}), **use))  # type: ignore[arg-type]  # test data

    assert isinstance(decided(policy, act("act", **use)), Allowed)
    assert codes_of(decision) == ("capability",)
    assert isinstance(decision, Denied)
    assert decision.reasons[0].message.endswith(f"needs `{declared.value}`")


@pytest.mark.parametrize("order", list(permutations(["allow", "ask", "deny"])))
@pytest.mark.parametrize(
    "present", [chosen for size in range(4) for chosen in combinations(["allow", "ask", "deny"], size)]
)
def test_deny_wins_over_ask_over_allow_whatever_the_order(
    order: tuple[str, ...], present: tuple[str, ...]
) -> None:
    lines = [f"  {word}: [act]" for word in order if word in present]
    policy = policy_of("commands:\n" + "\n".join(lines) if lines else "", grant="[]")

    decision = decided(policy, act("act"))

    expected = Denied if "deny" in present or not present else NeedsApproval if "ask" in present else Allowed
    assert type(decision) is expected
    assert set(codes_of(decision)) <= {"command"}


@pytest.mark.parametrize(
    "body", ["", "commands: {}", "commands: {allow: []}", "commands: {ask: [], deny: []}"]
)
def test_absent_or_empty_commands_allow_only_finish(body: str) -> None:
    policy = policy_of(body, grant="[]")

    assert codes_of(decided(policy, act("act"))) == ("command",)
    assert decided(policy, act("finish")) == Allowed()


def test_a_group_means_its_commands_and_not_longer_words() -> None:
    policy = policy_of('commands: {allow: ["files *"]}', grant="[]")

    assert isinstance(decided(policy, act("files", "read")), Allowed)
    assert codes_of(decided(policy, act("files"))) == ("command",)
    assert codes_of(decided(policy, act("filesystem", "read"))) == ("command",)


def test_the_reason_names_the_rule_by_file_and_line_and_the_nearest_command() -> None:
    policy = policy_of("commands:\n  allow: [files read]\n  deny: [files write]", grant="[files]")

    denied = decided(policy, act("files", "write"))
    unknown = decided(policy, act("files", "raed"))

    assert isinstance(denied, Denied)
    assert denied.reasons[0].rule == RuleAt("p.yaml", 6, 10)
    assert isinstance(unknown, Denied)
    assert unknown.reasons[0].hint == "did you mean `files read`?"


def test_headless_ask_is_a_denial() -> None:
    policy = policy_of("commands: {ask: [act]}", grant="[]")

    assert isinstance(decided(policy, act("act"), headless=False), NeedsApproval)
    assert codes_of(decided(policy, act("act"), headless=True)) == ("command",)
    assert isinstance(decided(policy, act("act"), headless=True), Denied)


def test_a_denial_is_never_softened_by_an_ask() -> None:
    policy = policy_of("commands: {ask: [act], rules: [{command: act, arguments: {x: [a]}}]}", grant="[]")

    decision = decided(policy, act("act", arguments={"x": "b"}))

    assert isinstance(decision, Denied)
    assert codes_of(decision) == ("argument",)


def test_what_allows_an_action_is_told() -> None:
    policy = policy_of("commands: {allow: ['g *', act]}", grant="[]")

    decision = decided(policy, act("act"))

    assert isinstance(decision, Allowed)
    assert decision.rule == RuleAt("p.yaml", 4, 27)


def test_a_ceiling_denies_with_its_own_code_whatever_the_policy_says() -> None:
    policy = policy_of("network: {allow: [{host: a.com}]}\ncommands: {allow: [x, y, 'files *']}")
    text = "version: 1\nnetwork: {hosts: [b.com], methods: [HEAD]}\ncommands: {deny: [y]}\nfiles: {hide: ['*.db'], protect: [ro], access: stage}\ngrants: [[files]]"
    ceiling = parse_ceiling(text, origin="/etc/c.yaml")

    def codes(request: ActionRequest) -> tuple[str, ...]:
        return codes_of(decided(policy, request, ceiling=ceiling, task="https://a.com/"))

    assert codes(act("x", http=(HttpUse("GET", "https://a.com/"),))) == ("ceiling", "ceiling")
    assert codes(act("x", needs=frozenset({N}))) == ("ceiling",)
    assert codes(act("y")) == ("ceiling",)
    assert codes(act("files", "read", paths=(PathUse("a.db", "read"),))) == ("ceiling",)
    assert codes(act("files", "write", paths=(PathUse("ro/x", "write"),))) == ("ceiling",)
    assert codes(act("files", "read", paths=(PathUse("ro/x", "read"),))) == ()


def test_a_decision_that_fails_is_a_denial() -> None:
    policy = policy_of("commands: {allow: [x], rules: [{command: x, arguments: {a: [b]}}]}", grant="[]")
    deep: object = "b"
    for _ in range(50):
        deep = (deep,)

    class Hostile:
        def __iter__(self) -> object:
            raise RuntimeError

    assert isinstance(decided(policy, act("x", arguments={"a": "b"})), Allowed)
    assert codes_of(decided(policy, act("x", arguments={"a": deep}))) == ("argument",)
    assert codes_of(decided(policy, act("x", arguments={"a": Hostile()}))) == ("argument",)
    assert codes_of(decided(policy, act("x", http=5, arguments={"a": "b"}))) == ("command",)


def test_a_value_hidden_in_a_mapping_is_not_looked_past() -> None:
    policy = policy_of("commands: {allow: [x], rules: [{command: x, arguments: {a: [b]}}]}", grant="[]")

    assert codes_of(decided(policy, act("x", arguments={"a": {"b": "evil"}}))) == ("argument",)


def test_an_action_of_all_three_needs_is_denied_under_a_ceiling_as_without() -> None:
    policy = policy_of("commands: {allow: [x]}")
    ceiling = parse_ceiling("version: 1\ngrants: [[files]]", origin="c.yaml")
    request = act("x", needs=frozenset({F, N, E}))

    assert codes_of(decided(policy, request)) == ("capability",)
    assert codes_of(decided(policy, request, ceiling=ceiling)) == ("capability", "ceiling")


def test_all_three_needs_are_never_granted() -> None:
    with pytest.raises(ForbiddenGrantError):
        policy_of("", grant="[files, network, exec]")
