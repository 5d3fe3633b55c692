"""What only joining writes fixes destinations past the rules: no file may hold it, no comparison miss it."""

from __future__ import annotations

import pytest
from policy_vocabulary import COMMANDS

from policies.check import check
from policies.diff import diff
from policies.errors import PolicyFileError
from policies.source import SourceText, parse_policy

HEAD = "version: 1\nname: p\ngrant: [files, network]\ncommands:\n  allow: [files read, mail send]\n"
FIXED = "  rules: [{command: mail send, arguments: {to: [a@b.com]}}]\n"
EVE = "[{command: mail send, arguments: {to: [eve@evil.com]}}]"
ANYONE = "[{command: mail send, sink_pattern: {to: ['*@evil.com']}}]"
UNFIXED = "network:\n  allow:\n    - {host: a.com, unfixed: writes}\n"


@pytest.mark.parametrize(
    "rules",
    [f"  rules: {EVE}\n", f"  rules: {ANYONE}\n", f"  origins: {EVE}\n", f"  origins: {ANYONE}\n"],
)
def test_a_destination_that_is_newly_fixed_is_wider_however_it_is_written(rules: str) -> None:
    old = parse_policy(HEAD, origin="old")
    new = parse_policy(HEAD + rules, origin="new", resolved=True)

    found = diff(old, new, COMMANDS).widenings

    assert [change.topic for change in found] == ["action"]
    assert "evil.com" in str(found[0].witness)
    assert not diff(new, new, COMMANDS).is_wider


@pytest.mark.parametrize("origins", [EVE, ANYONE])
def test_a_destination_that_is_fixed_beside_the_rules_is_a_finding(origins: str) -> None:
    text = HEAD + FIXED
    beside = parse_policy(f"{text}  origins: {origins}\n", origin="p", resolved=True)
    within = parse_policy(f"{text}  origins: {EVE.replace('eve@evil', 'a@b')}\n", origin="p", resolved=True)

    def found(topic: str, at: int) -> list[str]:
        policy = (beside, within)[at]
        return [item.message for item in check(policy, COMMANDS).findings if item.topic == topic]

    wanted = "*@evil.com" if "*" in origins else "eve@evil.com"
    message = f"argument `to` of `mail send` may send to `{wanted}`, which no rule fixes"
    assert found("sink-pattern", 0) == [message]
    assert found("sink-pattern", 1) == []


@pytest.mark.parametrize(
    ("text", "key", "line", "column"),
    [
        (f"{HEAD}  origins: {EVE}\n", "origins", 6, 3),
        (f"{HEAD}  origins: []\n", "origins", 6, 3),
        (HEAD + UNFIXED, "unfixed", 8, 21),
    ],
)
def test_a_file_that_holds_what_joining_writes_is_refused(
    text: str, key: str, line: int, column: int
) -> None:
    """Neither the file nor one that it extends may; what a session keeps of its own policy may."""
    child = "version: 1\nname: c\nextends: base.yaml\n"

    for source in (text, child):
        with pytest.raises(PolicyFileError) as caught:
            parse_policy(source, origin="p", find=lambda _: SourceText("base.yaml", text))
        (problem,) = caught.value.problems
        assert problem.message == f"key `{key}` is written by joining only"
        assert (problem.at.line, problem.at.column) == (line, column)
    assert parse_policy(text, origin="p", resolved=True).name == "p"
