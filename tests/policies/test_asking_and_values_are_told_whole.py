"""What is asked, what is no value, where the rule stands: each told whole, and none ends the look."""

from __future__ import annotations

import pytest
from deciding import act, codes_of, decided, policy_of

from policies.commands import LONGEST_VALUE, ValuePattern
from policies.errors import BadValueError, RuleAt
from policies.request import Allowed, Denied, HttpUse, NeedsApproval, PathUse, Reason

ASKED = (
    "network: {allow: [{host: a.com, methods: [GET, POST], ask: true}, {host: '*.b.com'}]}\n"
    "commands: {allow: [act]}"
)


def _asking(*urls: str, method: str = "GET") -> tuple[HttpUse, ...]:
    return tuple(HttpUse(method, url) for url in urls)


@pytest.mark.parametrize(
    ("headless", "hint"),
    [
        (False, "a person approves this very request, or not"),
        (True, "nobody can be asked, because the session is headless: ask another host"),
    ],
)
def test_a_request_that_its_rule_asks_for_is_told_with_its_rule(headless: bool, hint: str) -> None:  # noqa: FBT001 - a row of the table
    policy = policy_of(ASKED)

    decision = decided(policy, act("act", http=_asking("https://a.com/")), headless=headless)

    reason = Reason("host", "requests to `a.com` need an approval by its rule", hint, RuleAt("p.yaml", 4, 26))
    assert isinstance(decision, Denied | NeedsApproval)
    assert isinstance(decision, Denied) == headless
    assert decision.reasons == (reason,)


def test_a_url_that_no_rule_fixes_is_told_with_what_would_fix_it() -> None:
    decision = decided(policy_of(ASKED), act("act", http=_asking("https://x.b.com/p")))

    assert isinstance(decision, NeedsApproval)
    assert decision.reasons == (
        Reason(
            "origin",
            "the URL sends to `https://x.b.com:443`, which neither a rule nor a task typed on a terminal or "
            "trusted names",
            "it has to come from a rule without wildcards, from the task's own words, or from a person's "
            "approval",
            RuleAt("p.yaml", 4, 74),
        ),
    )


def test_a_destination_of_a_write_is_told_with_its_path() -> None:
    decision = decided(policy_of(ASKED), act("act", http=_asking("https://a.com/p", method="POST")))

    assert isinstance(decision, NeedsApproval)
    assert [reason.code for reason in decision.reasons] == ["host", "origin"]
    assert "`https://a.com:443/p`" in decision.reasons[1].message


@pytest.mark.parametrize("first", ["no url", "https://c.com/", "https://x.b.com/"])
def test_one_request_does_not_end_the_look_at_the_next(first: str) -> None:
    policy = policy_of(ASKED)
    alone = decided(policy, act("act", http=_asking(first)), task="see https://x.b.com/")
    second = decided(policy, act("act", http=_asking("https://d.com/")))

    both = decided(policy, act("act", http=_asking(first, "https://d.com/")), task="see https://x.b.com/")

    assert codes_of(second) == ("host",)
    assert codes_of(both) == (*codes_of(alone), "host")


def test_a_rule_for_another_command_does_not_end_the_look_at_arguments() -> None:
    rules = "[{command: other, max_calls: 9}, {command: act, arguments: {to: [one]}}]"
    policy = policy_of(f"commands: {{allow: [act], rules: {rules}}}", grant="[]")

    assert codes_of(decided(policy, act("act", arguments={"to": "two"}))) == ("argument",)
    assert isinstance(decided(policy, act("act", arguments={"to": "one"})), Allowed)


def test_what_is_no_path_names_the_block_of_files() -> None:
    policy = policy_of("files: {access: stage}\ncommands: {allow: [act]}", grant="[files]")

    decision = decided(policy, act("act", paths=(PathUse("../x", "read"),)))

    assert isinstance(decision, Denied)
    assert decision.reasons == (
        Reason(
            "path",
            "`../x` climbs with `..`",
            "name the path from the workspace's root",
            RuleAt("p.yaml", 4, 1),
        ),
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "`` is not a value", f"1 to {LONGEST_VALUE} characters"),
        ("x" * (LONGEST_VALUE + 1), f"`{'x' * 79}…` is not a value", f"1 to {LONGEST_VALUE} characters"),
        ("*", "value `*` constrains nothing", "leave the argument out, or name values"),
        ("***", "value `***` constrains nothing", "leave the argument out, or name values"),
    ],
    ids=["empty", "long", "star", "stars"],
)
def test_what_is_no_value_is_told_whole(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadValueError) as refused:
        ValuePattern.parse(text)

    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_values_up_to_the_longest_and_letters_beside_a_star_are_values() -> None:
    at = RuleAt("p.yaml", 1, 2)

    assert ValuePattern.parse("x" * LONGEST_VALUE, at=at).at == at
    assert ValuePattern.parse("X*").matches("Xy")
