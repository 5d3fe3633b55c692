# ruff: noqa: E501, ISC004 - a table of whole messages
from __future__ import annotations

import pytest
from policy_vocabulary import COMMANDS

from policies.action_line import request_from_line
from policies.errors import ExpectationError, VocabularyError
from policies.expectations import load_policy, run_expectations
from policies.request import HttpUse, PathUse, SinkUse
from policies.source import parse_policy

HEAD = "version: 1\nname: p\ngrant: [files]\ncommands: {allow: [files read, files list], ask: [files write], deny: [files remove]}\n"


def _refused(expect: str) -> list[str]:
    with pytest.raises(ExpectationError) as refused:
        load_policy(HEAD + f"expect:\n{expect}", origin="p.yaml", commands=COMMANDS)
    return [str(problem) for problem in refused.value.problems]


def test_a_policy_that_meets_its_expectations_loads() -> None:
    text = HEAD + (
        "expect:\n  - allow: files read a\n  - ask: files write a --content x\n"
        "  - deny: files remove a\n    because: command\n  - deny: http get https://a.com/\n    because: capability\n"
    )

    assert load_policy(text, origin="p.yaml", commands=COMMANDS).name == "p"


@pytest.mark.parametrize(
    ("expect", "line"),
    [
        (
            "  - allow: files remove a",
            "p.yaml:6:5: expectation `files remove a` is not met; expected `allow`, decided `deny` because of "
            "`command`: command `files remove` is denied by `files remove`",
        ),
        (
            "  - deny: files read a",
            "p.yaml:6:5: expectation `files read a` is not met; expected `deny`, decided `allow`",
        ),
        (
            "  - deny: files remove a\n    because: hidden",
            "p.yaml:6:5: expectation `files remove a` is not met; expected `deny` because of `hidden`, decided `deny` "
            "because of `command`: command `files remove` is denied by `files remove`",
        ),
        (
            "  - allow: files raed a",
            "p.yaml:6:5: expectation `files raed a` cannot be read: command `files raed` does not exist; "
            "hint: did you mean `files read`?",
        ),
    ],
)
def test_a_policy_with_a_failing_expectation_does_not_load(expect: str, line: str) -> None:
    assert _refused(expect) == [line]


def test_every_failing_expectation_is_told() -> None:
    assert len(_refused("  - allow: files remove a\n  - deny: files read a\n  - allow: files read a")) == 2


def test_rules_that_no_expectation_touches_are_named() -> None:
    policy = parse_policy(HEAD + "expect:\n  - allow: files read a\n", origin="p.yaml")

    run = run_expectations(policy, COMMANDS)

    assert [f"{rule.at} {rule.what}" for rule in run.untouched] == [
        "p.yaml:4:32 `files list` of `commands.allow`",
        "p.yaml:4:51 `files write` of `commands.ask`",
        "p.yaml:4:72 `files remove` of `commands.deny`",
    ]
    assert run.rules == 4


def test_a_line_becomes_the_action_that_it_says() -> None:
    request = request_from_line("mail send --to a@b.com --to=c@d.com --subject 'hello world'", COMMANDS)

    assert request.command == ("mail", "send")
    assert request.arguments == {"to": ("a@b.com", "c@d.com"), "subject": "hello world"}
    assert request.sinks == (SinkUse("to", "address", ["a@b.com", "c@d.com"]),)
    assert request_from_line("http post https://a.com/x --body 1", COMMANDS).http == (
        HttpUse("POST", "https://a.com/x"),
    )
    assert request_from_line("files move a b", COMMANDS).paths == (
        PathUse("a", "write"),
        PathUse("b", "write"),
    )
    run = request_from_line("run pytest -q --lf -- x", COMMANDS)
    assert (run.program, run.arguments["arguments"]) == ("pytest", ("-q", "--lf", "--", "x"))
    assert request_from_line("files remove a --recursive", COMMANDS).arguments["recursive"] is True
    assert request_from_line("files read -- --odd", COMMANDS).paths == (PathUse("--odd", "read"),)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nothing",
        "files",
        "files read a b",
        "files read --evil x",
        "mail send --to",
        "run 'x",
        "files read " + "x" * 9000,
    ],
)
def test_a_line_that_fits_no_command_is_refused(line: str) -> None:
    with pytest.raises(VocabularyError):
        request_from_line(line, COMMANDS)
