"""Words that mean more than they say: compound commands, wrappers, smuggled options, forged records."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from cli_tools.action import LineProposal, ToolProposal, tool_name
from cli_tools.catalogue import built_in
from cli_tools.errors import UsageError
from policies.decide import decide
from policies.grant import Grant
from policies.request import Allowed, Denied, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from cli_tools.command import Command

CATALOGUE = built_in()
PROGRAMS = """version: 1
name: x
grant: [files, exec]
exec: {programs: [pytest, python]}
commands: {allow: ["files *", "git *", run]}
"""
SMUGGLED = [
    "-c", "-C", "-e", "-o", "--exec", "--exec-path", "--ext-diff", "--textconv", "--output", "--output=x",
    "--upload-pack", "--receive-pack", "--git-dir", "--work-tree", "--no-index", "--config", "--config-env=x",
    "--pre", "--hostname-bin", "--checkpoint-action=exec", "--to-command", "--compress-program", "--fprint",
    "--delete", "--url", "--host", "--proxy", "--socket", "--env", "--no-sandbox", "--help", "-h",
    "--version", "@response-file", "--\u2010x", "\u2014exec",
]  # fmt: skip


def refused(line: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        CATALOGUE.parse(LineProposal(line=line))
    return caught.value


@pytest.mark.parametrize(
    "line",
    [
        "files read a; files remove b",
        "files read a && id",
        "files read a || id",
        "files read a | id",
        "files read a\nfiles remove b",
        "files read a\r\nid",
        "files read a & id",
        "files read a > b",
        "files read a <<EOF\nid\nEOF",
        "files read a \\\n b",
        "files read a # b",
        "files  read a\u2028id x",
    ],
)
def test_a_compound_command_is_one_command_with_too_many_words(line: str) -> None:
    """There is no shell, so nothing joins two commands (attacks B49, B50); the first alone is one."""
    assert refused(line).code == "usage"
    assert CATALOGUE.parse(LineProposal(line="files read a")).command.name == "files read"


@pytest.mark.parametrize(
    "text", ["$(id)", "`id`", "$HOME", "~", "*", "{a,b}", "a;id", "a|id", "a\nid", "!!", "%PATH%"]
)
def test_nothing_in_a_word_is_expanded(text: str) -> None:
    """It is a file of that name, and no other (attacks B11, B49, B54)."""
    action = CATALOGUE.parse(LineProposal(line=f"files read {shlex.quote(text)}"))

    assert action.parameters["path"] == text
    assert action.request().paths[0].path == text


WRAPPERS = (
    "env|sudo|watch|setsid|ionice|nohup|timeout 9|xargs|sh -c|FOO=x|FOO=x BAR=y|command|exec|time|nice -n 5"
)


@pytest.mark.parametrize("wrapper", WRAPPERS.split("|"))
def test_a_wrapper_or_an_assignment_before_a_command_is_no_command(wrapper: str) -> None:
    """Attacks B51 and B52."""
    assert refused(f"{wrapper} files read a").code == "unknown-command"


OTHERS = (
    "env|sudo|sh|./pytest|/usr/bin/pytest|pytest |PYTEST|pytest\n|python3|busybox|pytest;id|-pytest|python -c"
)


@pytest.mark.parametrize("program", OTHERS.split("|"))
def test_a_program_is_compared_whole_and_behind_no_wrapper(program: str) -> None:
    """`exec.programs` lists names, and argv[0] is one of them or it is denied (attack B52)."""
    policy = parse_policy(PROGRAMS, origin="x.yaml")
    facts = SessionFacts(grant=Grant.FILES_EXEC)

    def decided(*argv: str) -> object:
        call = ToolProposal(tool="run", arguments=json.dumps({"argv": list(argv)}))
        return decide(policy, facts, CATALOGUE.parse(call).request())

    denied = decided(program, "pytest")

    assert isinstance(denied, Denied)
    assert [reason.code for reason in denied.reasons] == ["argument"]
    assert isinstance(decided("pytest", program), Allowed)


@pytest.mark.parametrize("declared", [c for c in CATALOGUE.commands if not c.program], ids=lambda c: c.name)
@pytest.mark.parametrize("option", SMUGGLED)
def test_no_command_takes_an_option_that_it_does_not_declare(declared: Command, option: str) -> None:
    """Options are an allowlist: what executes, writes or connects elsewhere has no name here (attack B53)."""
    example = declared.examples[0]
    before = " ".join(declared.path)
    line = f"{before} {option}{example.removeprefix(before)}"

    if option.startswith("-"):
        assert refused(line).code == "usage"
    else:
        assert option in str(_parameters(line, option))


def _parameters(line: str, option: str) -> object:
    """Return what a word without a dash became: a value like any other, or too many of them."""
    try:
        return dict(CATALOGUE.parse(LineProposal(line=line)).parameters)
    except UsageError as error:
        return f"{error.code} {option}"


@pytest.mark.parametrize("declared", CATALOGUE.commands, ids=lambda c: c.name)
@pytest.mark.parametrize(
    "field", ["dangerouslyDisableSandbox", "sandbox", "timeout_ms", "environment", "cwd ", "__class__", ""]
)
def test_a_tool_call_has_no_further_field(declared: Command, field: str) -> None:
    """No hatch to ask for: a field that is not declared refuses the whole call (attack B44)."""
    call = ToolProposal(tool=tool_name(declared), arguments=json.dumps({field: True}))

    with pytest.raises(UsageError) as caught:
        CATALOGUE.parse(call)

    assert "has no argument" in caught.value.message


@pytest.mark.parametrize("name", ["-x", "--content", "--", "-rf", "--checkpoint-action=exec=sh"])
def test_a_name_with_a_leading_dash_is_a_name_only_behind_two_dashes(name: str) -> None:
    """Attack B54; a tool call's values are never options at all."""
    by_tool = CATALOGUE.parse(ToolProposal(tool="files_stat", arguments=json.dumps({"path": name})))
    by_line = CATALOGUE.parse(LineProposal(line=f"files stat -- {name}"))

    assert refused(f"files stat {name}").code == "usage"
    assert by_tool == by_line
    assert by_tool.parameters == {"path": name}


def test_a_value_is_no_second_option() -> None:
    """`--limit` gets the word behind it, whatever it looks like, and refuses what is no number."""
    assert refused("files search x --limit --literal").code == "usage"
    action = CATALOGUE.parse(
        ToolProposal(tool="files_patch", arguments='{"path": "a", "old": "--every", "new": "--diff=x"}')
    )

    assert (action.parameters["old"], action.parameters["new"], action.parameters["every"]) == (
        "--every", "--diff=x", False
    )  # fmt: skip
