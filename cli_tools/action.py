"""Turn what a model or a person proposes into an action: a command and its parameters. There is no shell."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import (
    MAXIMUM_BODY_BYTES,
    MAXIMUM_LINE_CHARACTERS,
    MAXIMUM_WORDS,
    Command,
    Parameters,
    Url,
    WorkspacePath,
)
from cli_tools.errors import DeclarationError, UsageError
from cli_tools.tool_arguments import words_of
from policies.request import ActionRequest, HttpUse, PathUse, SinkUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.request import ArgumentValue

_QUOTING: Final = re.compile(r"""['"\\]""")
_BLANKS: Final = re.compile(r"[ \t\r\n]+")
"""What `shlex` takes to stand between words."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProposal:
    """A command line, as a person or a script writes one, with a body beside it."""

    line: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProposal:
    """A tool call, as a model makes one: a tool's name and its arguments as JSON text."""

    tool: str
    arguments: str


Proposal = LineProposal | ToolProposal


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsProposal:
    """A command line that is taken apart already, as a program inside calls one."""

    words: tuple[str, ...]
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action that parsed: what will be decided, journalled and done is exactly this."""

    command: Command
    argv: tuple[str, ...]
    """The whole command line, one word each; the body is not among them."""
    parameters: Parameters
    body: bytes | None

    def request(self) -> ActionRequest:
        """Return what the policy is asked."""
        paths: list[PathUse] = []
        http: list[HttpUse] = []
        for parameter in self.command.parser.params:
            kind = parameter.type
            if isinstance(kind, WorkspacePath):
                paths += [PathUse(path=value, access=kind.access) for value in self._values(parameter)]
            elif isinstance(kind, Url):
                http += [HttpUse(method=kind.method, url=value) for value in self._values(parameter)]
        return ActionRequest(
            command=self.command.path,
            needs=self.command.needs,
            arguments=self._arguments(),
            paths=tuple(paths),
            http=tuple(http),
            sinks=tuple(
                [
                    SinkUse(argument=name, kind=kind, value=self.parameters.get(name))
                    for name, kind in self.command.other_sinks.items()
                ]
            ),
            program=self._program(),
        )

    def _arguments(self) -> dict[str, ArgumentValue]:
        """Return every value, the body among them: a rule may bound any argument that is declared."""
        values = {name: value for name, value in self.parameters.items() if value is not None}
        if self.command.body_parameter and self.body is not None:
            values[self.command.body_parameter] = self.body.decode("utf-8", "surrogateescape")
        return values

    def _values(self, parameter: click.Parameter) -> list[str]:
        """Return each single value of a parameter, however often it may be repeated."""
        value = self.parameters.get(str(parameter.name))
        members = value if isinstance(value, tuple) else (value,)
        return [str(member) for member in members if member is not None]

    def _program(self) -> str | None:
        if self.command.fixed_program:
            return self.command.fixed_program
        words = self.parameters.get(self.command.program) if self.command.program else None
        return str(words[0]) if words else None


class Catalogue:
    """Hold the commands that exist, in a stable order, and find one by its words.

    Args:
        commands: Every command; their names are unique.
    """

    def __init__(self, commands: Iterable[Command]) -> None:
        self.commands = tuple(sorted(commands, key=lambda command: command.path))
        self._by_path = {command.path: command for command in self.commands}
        self._by_tool = {tool_name(command): command for command in self.commands}
        if len(self._by_tool) != len(self.commands):
            raise DeclarationError("two commands have one name")

    def parse(self, proposal: Proposal | WordsProposal) -> Action:
        """Return the action that a proposal means.

        Raises:
            UsageError: When it means none.
        """
        match proposal:
            case LineProposal(line=line, body=body):
                return self._from_words(_words(line), body)
            case WordsProposal(words=words, body=body):
                return self._from_words(words, body)
            case ToolProposal(tool=tool, arguments=arguments):
                return self._from_tool(tool, arguments)

    def _from_words(self, words: tuple[str, ...], body: bytes | None) -> Action:
        command = self._find(words)
        return _parsed(command, words[len(command.path) :], body)

    def _from_tool(self, tool: str, arguments: str) -> Action:
        command = self._by_tool.get(tool)
        if command is None:
            raise _unknown(tool, self._by_tool)
        words, body = words_of(command, arguments)
        return _parsed(command, words, body)

    def named(self, words: tuple[str, ...]) -> Command | None:
        """Return the command that these words begin with; None where there is none."""
        return self._by_path.get(words[:2]) or self._by_path.get(words[:1])

    def _find(self, words: tuple[str, ...]) -> Command:
        if (command := self.named(words)) is not None:
            return command
        raise _unknown(" ".join(words[:2]), (command.name for command in self.commands))


def tool_name(command: Command) -> str:
    """Return the name under which a model calls a command: `files_read`."""
    return "_".join(command.path)


def _words(line: str) -> tuple[str, ...]:
    if len(line) > MAXIMUM_LINE_CHARACTERS:
        raise UsageError(
            "too-long",
            f"the command line has {len(line)} characters, at most {MAXIMUM_LINE_CHARACTERS} are read",
            hint="give long content as the body",
        )
    try:
        words = _split(line)
    except ValueError as error:
        raise UsageError("usage", f"the quotes do not close: {error}") from error
    if not words:
        raise UsageError("usage", "the command line is empty")
    return words


def _split(line: str) -> tuple[str, ...]:
    """Return a line's words as a POSIX shell's quotes have them; quickly where nothing is quoted."""
    if _QUOTING.search(line) is None:
        return tuple(filter(None, _BLANKS.split(line)))
    return tuple(shlex.split(line))


def _parsed(command: Command, words: tuple[str, ...], body: bytes | None) -> Action:
    if len(words) > MAXIMUM_WORDS:
        raise UsageError("too-long", f"{len(words)} words, at most {MAXIMUM_WORDS} are read")
    for word in words:
        _require_text(command, word)
    if body is not None and len(body) > MAXIMUM_BODY_BYTES:
        raise UsageError("too-long", f"a body of {len(body)} bytes, at most {MAXIMUM_BODY_BYTES} are read")
    if body is not None and not command.body_parameter:
        raise UsageError("usage", f"`{command.name}` takes no content")
    try:
        parameters = command.parser.values(words)
    except click.ClickException as error:
        raise UsageError("usage", f"`{command.name}`: {_one_line(error)}", hint=usage(command)) from error
    given = parameters.pop(command.body_parameter, None) if command.body_parameter else None
    if given is not None:
        if body is not None:
            raise UsageError("usage", f"`{command.name}`: `--{command.body_parameter}` and a body: give one")
        body = str(given).encode()
        words = _without_body(command, words)
    if body is None and command.body_needed:
        option = f"`--{command.body_parameter}"
        hint = f"give {option}`, or a body; an empty one as {option} ''`"
        raise UsageError("usage", f"`{command.name}` needs `{command.body_parameter}`", hint=hint)
    command.started(parameters)  # refuses values that a program could read as more than a value
    return Action(command=command, argv=(*command.path, *words), parameters=parameters, body=body)


def _require_text(command: Command, word: str) -> None:
    """Refuse what no program can be given: a NUL, and half of a UTF-16 pair, which has no bytes."""
    if "\0" in word or _SURROGATE.search(word):
        raise UsageError("usage", f"`{command.name}`: a word holds a NUL or a lone surrogate, expected text")


def _without_body(command: Command, words: tuple[str, ...]) -> tuple[str, ...]:
    """Take an inline body out of the words, so that the ledger keeps it once and as content.

    INVARIANT: words after `--`, and after the program of a command that has one, are never looked into.
    """
    flags = {flag: option for option in command.options for flag in option.opts}
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest[0]
        is_option = word.startswith("-") and len(word) > 1
        if word == "--" or (command.program and not is_option):
            break
        flag, equals, _ = word.partition("=")
        option = flags.get(flag)
        taken = 1 if option is None or option.is_flag or equals else 2
        if option is None or option.name != command.body_parameter:
            kept += rest[:taken]
        del rest[:taken]
    return (*kept, *rest)


def usage(command: Command) -> str:
    """Return the command's usage on one line: `files read [--lines A-B] PATH`."""
    with click.Context(command.parser, info_name=command.name) as context:
        pieces = command.parser.collect_usage_pieces(context)
        options = [_option(option, context) for option in command.options]
    return " ".join([command.name, *options, *(piece for piece in pieces if piece != "[OPTIONS]")])


def _option(option: click.Option, context: click.Context) -> str:
    shown = option.opts[0] if option.is_flag else f"{option.opts[0]} {_metavar(option, context)}"
    return shown if option.required else f"[{shown}]"


def _metavar(option: click.Option, context: click.Context) -> str:
    number = isinstance(option.type, click.types.IntParamType) and option.metavar is None
    return "N" if number else option.make_metavar(context)


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split())
    return (text[:1].lower() + text[1:]).rstrip(".")


def _unknown(name: str, names: Iterable[str]) -> UsageError:
    known = sorted(names)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}"
    return UsageError("unknown-command", f"`{name[:80]}` is not a command", hint=hint)
