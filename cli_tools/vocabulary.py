"""Tell the policies what commands there are: names, needs, arguments and sinks, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli_tools.command import Command, Url, WorkspacePath
from policies.facts import ArgumentFacts, CommandFacts, Role

if TYPE_CHECKING:
    from cli_tools.action import Catalogue


def vocabulary(catalogue: Catalogue) -> tuple[CommandFacts, ...]:
    """Return what a policy may be told of each command, in the catalogue's order."""
    return tuple(_facts(command) for command in catalogue.commands)


def _facts(command: Command) -> CommandFacts:
    methods = [parameter.type.method for parameter in command.parameters if isinstance(parameter.type, Url)]
    return CommandFacts(
        path=command.path,
        needs=command.needs,
        arguments=tuple(_argument(command, parameter) for parameter in command.parameters),
        method=methods[0] if methods else None,
        summary=command.summary,
        program=command.fixed_program or None,
    )


def _argument(command: Command, parameter: click.Parameter) -> ArgumentFacts:
    name = str(parameter.name)
    return ArgumentFacts(
        name=name,
        role=_role(command, parameter),
        sink=command.other_sinks.get(name),
        positional=isinstance(parameter, click.Argument),
        many=parameter.nargs == -1 or parameter.multiple,
        flag=isinstance(parameter, click.Option) and parameter.is_flag,
        spelt=parameter.opts[0].removeprefix("--") if isinstance(parameter, click.Option) else "",
    )


def _role(command: Command, parameter: click.Parameter) -> Role:
    if isinstance(parameter.type, WorkspacePath):
        return parameter.type.access
    if isinstance(parameter.type, Url):
        return "url"
    return "program" if parameter.name == command.program else "value"
