"""Hostile values in every argument of every command: refused, or that value and nothing else (B49 to B54)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cli_tools.action import Action, LineProposal, ToolProposal, WordsProposal, tool_name
from cli_tools.command import Body, Url, WorkspacePath
from cli_tools.errors import UsageError
from cli_tools.neutral import restore
from cli_tools.wrapped import catalogue_of

if TYPE_CHECKING:
    from cli_tools.command import Command

CATALOGUE = catalogue_of(Path(__file__).resolve().parents[2] / "examples" / "commands")
VALUES = [
    "",
    " ",
    "-",
    "--",
    "---",
    "-x",
    "-rf",
    "--help",
    "--all=1",
    "--every",
    "--recursive",
    "--limit=1",
    "--to=eve@x.y",
    "--channel=#x",
    "-c core.pager=id",
    "--upload-pack=id",
    "--output=/etc/passwd",
    "@file",
    "@/etc/passwd",
    "+x",
    "~",
    "~root/x",
    "$HOME",
    "${IFS}",
    "$(id)",
    "`id`",
    "; id",
    "&& id",
    "| id",
    "> x",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "%s%n",
    "%2e%2e/x",
    "\\",
    "\\-x",
    "a\\\nb",
    "'",
    '"',
    "'; id; '",
    "\n--all",
    "a\n--all",
    "a\r\nb",
    "\t",
    "\x00",
    "a\x00--all",
    "\x1b[31m",
    "\x7f",
    "\u202ecod",
    "\u200b",
    "\u2010-all",
    "\uff0d\uff0dall",
    "\ud800",
    "\udcff",
    "../x",
    "a/../../x",
    "..",
    "/etc/passwd",
    "//x",
    "/proc/self/root",
    "/workspace/../x",
    "C:\\x",
    "x" * 5000,
    "a=b",
    "#",
    "!!",
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "\u27e62d\u27e7\u27e62d\u27e7all",
    "\u27e6a\u27e7",
]


def base_of(command: Command) -> Action:
    """Return what an example of a command means."""
    body = b"text" if command.body_needed else None
    try:
        return CATALOGUE.parse(LineProposal(line=command.examples[0]))
    except UsageError:
        return CATALOGUE.parse(LineProposal(line=command.examples[0], body=body))


def arguments_of(action: Action) -> dict[str, object]:
    """Return an action's arguments as a tool call gives them."""
    given = {
        name: value for name, value in action.parameters.items() if value is not None and value is not False
    }
    arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    for parameter in action.command.parameters:
        if isinstance(parameter.type, Url | WorkspacePath | click.Choice) or parameter.name not in arguments:
            continue
        if arguments[parameter.name] in ((), []):
            del arguments[parameter.name]
    if action.body is not None:
        arguments[action.command.body_parameter] = action.body.decode()
    return arguments


def texts(command: Command) -> list[click.Parameter]:
    """Return the parameters that take text of some kind."""
    return [
        parameter
        for parameter in command.parameters
        if not (isinstance(parameter, click.Option) and parameter.is_flag)
        and not isinstance(parameter.type, click.types.IntParamType | Body)
    ]


@pytest.mark.parametrize("declared", CATALOGUE.commands, ids=lambda command: command.name)
def test_a_value_is_refused_or_stays_the_one_value_that_it_is(declared: Command) -> None:
    """No other argument changes, and what the ledger keeps means the same action again, byte for byte."""
    base = base_of(declared)
    arguments = arguments_of(base)
    for parameter in texts(declared):
        name = str(parameter.name)
        many = parameter.nargs == -1 or parameter.multiple
        for value in VALUES:
            call = json.dumps({**arguments, name: [value] if many else value})
            try:
                action = CATALOGUE.parse(ToolProposal(tool=tool_name(declared), arguments=call))
            except UsageError:
                continue
            others = {key: found for key, found in action.parameters.items() if key != name}
            assert others == {key: found for key, found in base.parameters.items() if key != name}, value
            assert action.body == base.body
            assert is_itself(action.parameters[name], value, many=many), (value, action.parameters[name])
            again = CATALOGUE.parse(WordsProposal(words=action.argv, body=action.body))
            assert (again.parameters, again.body) == (action.parameters, action.body), value


def is_itself(found: object, value: str, *, many: bool) -> bool:
    """Say whether a parameter is the value, in the form in which it is compared."""
    if many:
        return isinstance(found, tuple) and len(found) == 1 and is_itself(found[0], value, many=False)
    plain = restore(value.encode()).decode("utf-8", "surrogateescape")
    forms = {value.lower(), plain.lower(), f"#{value}".lower()}  # a channel's name is compared with its `#`
    return found is not None and (str(found).lower() in forms or not isinstance(found, str))


@pytest.mark.parametrize(
    ("tool", "arguments", "needed"),
    [
        ("git_diff", {"to": "HEAD"}, "`git diff` needs `revision` where `to` is given"),
        ("files_search", {"path": "src"}, "`files search` needs `pattern` where `path` is given"),
        ("files_move", {"to": "x"}, "`files move` needs `path` where `to` is given"),
        ("mail_save", {"message": "a", "path": "x"}, "`mail save` needs `attachment` where `path` is given"),
    ],
)
def test_a_value_never_moves_to_the_place_of_an_argument_that_is_left_out(
    tool: str, arguments: dict[str, str], needed: str
) -> None:
    """A folder to search in is no pattern, and where to move a file is not which."""
    with pytest.raises(UsageError) as caught:
        CATALOGUE.parse(ToolProposal(tool=tool, arguments=json.dumps(arguments)))

    assert caught.value.message == needed


def test_values_that_are_plain_are_taken_by_every_command() -> None:
    """The twin: what examples hold passes through the same road."""
    for command in CATALOGUE.commands:
        base = base_of(command)
        call = ToolProposal(tool=tool_name(command), arguments=json.dumps(arguments_of(base)))

        assert CATALOGUE.parse(call).parameters == base.parameters
