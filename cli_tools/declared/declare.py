"""Make commands of a file's declarations; to the gate, the policy and the model they are like any other."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from cli_tools.command import Act, Body, Command, Outcome, Surroundings, command
from cli_tools.connector import within
from cli_tools.declared.argv import Form, Template, word_of
from cli_tools.declared.document import DeclaredArgument, DeclaredCommand, read_declarations
from cli_tools.declared.pattern import Pattern
from cli_tools.declared.programs import behind_dashes
from cli_tools.declared.shown import Filter
from cli_tools.declared.slots import slots_of
from cli_tools.declared.sound import faults
from cli_tools.declared.values import DeclaredPath, HostName, PatternText
from policies.errors import PolicyFileError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from policies.document import Document
    from sandbox.session import Sandbox

_STDIN = "stdin"


def declared_commands(text: str, *, origin: str) -> tuple[tuple[DeclaredCommand, Command], ...]:
    """Read a file of declared commands.

    Args:
        text: The whole file, at most 64 KiB of YAML 1.2.
        origin: Its name, for messages.

    Raises:
        PolicyFileError: When it is not valid; with every problem that was found.
    """
    found, document = read_declarations(text, origin=origin)
    problems = [*_problems(found.commands, document)]
    if problems:
        raise PolicyFileError(problems)
    return tuple((declared, made(declared)) for declared in found.commands)


def _problems(commands: tuple[DeclaredCommand, ...], document: Document) -> Iterator[Problem]:
    names: list[str] = []
    for place, declared in enumerate(commands):
        for path, what, mend in faults(declared):
            yield Problem(document.at(("commands", place, *path)), what, mend)
        at = document.at(("commands", place, "name"))
        if same := [name for name in names if _alike(declared.name, name)]:
            what = f"command `{declared.name}` cannot be told from `{same[0]}`"
            yield Problem(at, what, "names differ in more than `-` and ` `, and none begins another")
        names.append(declared.name)


def _alike(one: str, other: str) -> bool:
    first, second = (name.replace("-", " ").split(" ") for name in (one, other))
    return first == second or one.split(" ") == other.split(" ")[:1] or other.split(" ") == one.split(" ")[:1]


def made(declared: DeclaredCommand) -> Command:
    """Return the command that a sound declaration means."""
    template = template_of(declared)
    declare = command(
        declared.name,
        needs=tuple(declared.capabilities),
        runs="connector" if declared.connector else "guest",
        connector=str(declared.connector or ""),
        parameters=tuple(_parameters(declared)),
        sinks=declared.compared,
        starts=template.written,
        examples=tuple(str(example.line) for example in declared.examples if not example.refused),
    )
    return declare(_act(declared, template))


def _act(declared: DeclaredCommand, template: Template) -> Act:
    seconds = float(declared.seconds)
    shows = Filter(declared.output)

    async def act(surroundings: Surroundings, /, **values: Any) -> Outcome:
        async with _place(declared, surroundings) as sandbox:
            reply = await sandbox.spawn(
                template.written(values),
                timeout_seconds=seconds,
                stdin=surroundings.body,
                environment=surroundings.variables,
            )
        shown = await asyncio.to_thread(shows.shown, reply.output)  # the session's beats go on
        return Outcome(
            exit_code=reply.exit_code,
            output=shown.output,
            errors=reply.errors if shows.shows_errors else b"",
            note="; ".join(part for part in (reply.note, shown.note) if part),
            truncated_bytes=reply.truncated_bytes,
            timed_out=reply.timed_out,
            allowed_seconds=reply.allowed_seconds,
        )

    act.__doc__ = declared.summary
    return act


def _place(declared: DeclaredCommand, surroundings: Surroundings) -> AbstractAsyncContextManager[Sandbox]:
    """Return where a declared program runs: inside, or in its connector's container."""
    if declared.connector:
        return within(surroundings.connectors, str(declared.connector))
    return nullcontext(surroundings.sandbox)


def template_of(declared: DeclaredCommand) -> Template:
    """Return the argv of a sound declaration, before its values are known."""
    slots = slots_of(declared)
    words = tuple(
        word_of(slot.text, given=slot.given, behind_dashes=behind)
        for slot, behind in zip(slots, behind_dashes(str(declared.program), slots), strict=True)
    )
    forms = {name: _form(argument) for name, argument in declared.arguments.items()}
    return Template(program=str(declared.program), words=words, forms=forms)


def _form(argument: DeclaredArgument) -> Form:
    return Form(is_path=argument.type == "path", is_text=argument.type == "pattern", literal=argument.literal)


def _parameters(declared: DeclaredCommand) -> Iterator[click.Parameter]:
    for name, argument in declared.arguments.items():
        yield _parameter(str(name), argument)
    if declared.stdin is not None:
        help_text = declared.stdin.help or "Text for its standard input."
        yield click.Option([f"--{_STDIN}"], type=Body(needed=declared.stdin.required), help=help_text)


def _parameter(name: str, argument: DeclaredArgument) -> click.Parameter:
    flag = f"--{name}"
    if argument.type == "flag":
        return click.Option([flag, name], is_flag=True, help=argument.help)
    kind = _type(argument)
    if argument.is_required:
        return click.Argument([name], type=kind, nargs=-1 if argument.many else 1, required=True)
    return click.Option(
        [flag, name], type=kind, multiple=argument.many, default=argument.default, help=argument.help
    )


def _type(argument: DeclaredArgument) -> click.ParamType[Any]:
    match argument.type:
        case "path":
            return DeclaredPath(argument.access or "write", literal=argument.literal)
        case "enum":
            return click.Choice([str(value) for value in argument.values])
        case "integer":
            return click.IntRange(argument.least, argument.most)
        case "host":
            return HostName()
        case _:
            return PatternText(Pattern(argument.pattern or ""), literal=argument.literal)
