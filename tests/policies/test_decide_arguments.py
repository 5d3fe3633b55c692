# ruff: noqa: E501 - tables, one case on each line, some with a truth value as a column
"""Arguments, calls and programs: values match whole, every rule has to hold, calls are counted."""

from __future__ import annotations

import pytest
from deciding import E, act, codes_of, decided, policy_of

from policies.request import Allowed, Denied, Reason

RULES = "commands: {allow: [act], rules: [{command: act, arguments: {to: [one, 'two*']}}]}"


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        ("one", ()),
        ("two-and-more", ()),
        ("ONE", ("argument",)),
        ("one ", ("argument",)),
        ("onex", ("argument",)),
        ("xone", ("argument",)),
        ("one\nevil", ("argument",)),
        ("", ("argument",)),
        (None, ("argument",)),
        ((), ("argument",)),
        (("one", "one"), ()),
        (("one", "evil"), ("argument",)),
        (("one", ("one", ("evil",))), ("argument",)),
        ("one,evil", ("argument",)),
    ],
)
def test_values_match_whole_and_every_one_has_to(value: object, codes: tuple[str, ...]) -> None:
    policy = policy_of(RULES, grant="[]")

    assert codes_of(decided(policy, act("act", arguments={"to": value}))) == codes


def test_every_rule_that_names_a_command_has_to_hold() -> None:
    policy = policy_of(
        "commands: {allow: [g a], rules: [{command: 'g *', arguments: {x: ['1', '2']}}, {command: g a, arguments: {x: ['2', '3']}}]}",
        grant="[]",
    )

    allowed = [
        value
        for value in "1234"
        if isinstance(decided(policy, act("g", "a", arguments={"x": value})), Allowed)
    ]

    assert allowed == ["2"]


def test_calls_are_counted_over_the_whole_group() -> None:
    policy = policy_of("commands: {allow: ['g *'], rules: [{command: 'g *', max_calls: 3}]}", grant="[]")

    assert isinstance(decided(policy, act("g", "a"), calls={"g a": 1, "g b": 1}), Allowed)
    assert codes_of(decided(policy, act("g", "a"), calls={"g a": 1, "g b": 2, "other": 9})) == ("budget",)


def test_no_calls_at_all_may_be_written() -> None:
    policy = policy_of("commands: {allow: [a], rules: [{command: a, max_calls: 0}]}", grant="[]")

    assert codes_of(decided(policy, act("a"))) == ("budget",)


@pytest.mark.parametrize(
    ("block", "program", "codes"),
    [
        ("{programs: [pytest]}", "pytest", ()),
        ("{programs: [pytest]}", "pytest-evil", ("argument",)),
        ("{programs: [pytest]}", "/tmp/pytest", ("argument",)),
        ("{programs: []}", "pytest", ("argument",)),
        ("{}", "pytest", ("argument",)),
        ("{programs: any}", "whatever", ()),
        ("{programs: ['any']}", "whatever", ("argument",)),
    ],
)
def test_programs_are_named_whole_and_any_is_written_out(
    block: str, program: str, codes: tuple[str, ...]
) -> None:
    policy = policy_of(f"exec: {block}\ncommands: {{allow: [run]}}", grant="[exec]")

    assert codes_of(decided(policy, act("run", program=program, needs=frozenset({E})))) == codes


def test_a_rule_for_another_command_does_not_end_the_count() -> None:
    rules = "[{command: other, max_calls: 9}, {command: act, arguments: {}, max_calls: 1}]"
    policy = policy_of(f"commands: {{allow: [act], rules: {rules}}}", grant="[]")

    assert codes_of(decided(policy, act("act"), calls={"act": 1})) == ("budget",)


@pytest.mark.parametrize("name", ["g  a", " g a", "g a ", "g\ta", "ga", "g"])
def test_a_call_is_counted_by_its_exact_name(name: str) -> None:
    policy = policy_of("commands: {allow: [g a], rules: [{command: g a, max_calls: 1}]}", grant="[]")

    assert isinstance(decided(policy, act("g", "a"), calls={name: 1}), Allowed)


def test_an_error_that_a_value_causes_is_told_with_its_own_words_and_mend() -> None:
    value: object = "one"
    for _ in range(9):
        value = (value,)
    policy = policy_of(RULES, grant="[]")

    decision = decided(policy, act("act", arguments={"to": value}))

    assert decision == Denied((Reason("argument", "values are nested deeper than 8", "a plain list"),))


def test_whatever_goes_wrong_while_deciding_is_a_denial_that_names_the_action() -> None:
    policy = policy_of("commands: {allow: [g a], rules: [{command: g a, max_calls: 1}]}", grant="[]")

    decision = decided(policy, act("g", "a"), calls=None)

    what = "the decision on `g a` failed: `AttributeError`"
    assert decision == Denied((Reason("command", what, "this is a defect; please report it"),))
    assert isinstance(decided(policy, act("g", "a"), calls={}), Allowed)
