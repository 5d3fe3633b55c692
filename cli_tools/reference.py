"""Write docs/commands.md from the declarations: `python -m cli_tools.reference > docs/commands.md`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from cli_tools.action import usage
from cli_tools.catalogue import built_in
from cli_tools.command import Body
from cli_tools.schema import default_of
from policies.capability import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli_tools.action import Catalogue
    from cli_tools.command import Command

_HEAD: Final = """# The commands

Everything that an agent can do is one of these. The page is generated from the declarations
(`python -m cli_tools.reference > docs/commands.md`), and a test holds it to them.
*Needs* names the capabilities that a session has to hold; *sinks* the arguments that decide where data goes
or whose things are changed; *acts in* where it is carried out. There is no shell: words are split once, by
quotes, and nothing is expanded.

| command | needs | sinks | acts in | |
| --- | --- | --- | --- | --- |
"""


def needs_of(command: Command) -> str:
    """Return the capabilities that a command needs, for people."""
    return ", ".join(in_order(command.needs)) or "nothing"


def sinks_of(command: Command) -> str:
    """Return a command's sinks and how their values are compared, for people."""
    return ", ".join(f"{name} ({kind})" for name, kind in command.sinks.items()) or "none"


def reference(catalogue: Catalogue) -> str:
    """Return the page."""
    rows = "".join(f"{_row(command)}\n" for command in catalogue.commands)
    return _HEAD + rows + "".join(section(command) for command in catalogue.commands)


def _row(command: Command) -> str:
    link = f"[`{command.name}`](#{'-'.join(command.path)})"
    return f"| {link} | {needs_of(command)} | {sinks_of(command)} | {command.runs} | {command.summary} |"


def section(command: Command) -> str:
    """Return what the page says of one command."""
    lines = [f"## {command.name}", "", command.summary, "", f"    {usage(command)}", ""]
    lines += [f"Needs: {needs_of(command)}. Sinks: {sinks_of(command)}. Acts in: {command.runs}.", ""]
    lines += [*_parameters(command), *([""] if command.parameters else [])]
    shown = (example.replace("\n", "\n    ") for example in command.examples)
    lines += ["For example:", "", *(f"    {example}" for example in shown), ""]
    return "\n" + "\n".join(lines).rstrip("\n") + "\n"


def _parameters(command: Command) -> Iterator[str]:
    for parameter in command.parameters:
        name = parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.name)
        yield f"- `{name}`: {', '.join(_facts(command, parameter))}"


def _facts(command: Command, parameter: click.Parameter) -> Iterable[str]:
    is_body = isinstance(parameter.type, Body)
    yield "content, here or as a body beside the line" if is_body else _kind(parameter)
    if parameter.name in command.sinks:
        yield "a sink"
    if parameter.required or (is_body and command.body_needed):
        yield "required"
    if isinstance(parameter, click.Option) and parameter.help:
        yield parameter.help[:1].lower() + parameter.help[1:].rstrip(".")
    if (default := default_of(parameter)) is not None:
        yield f"`{default}` when left out"


def _kind(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return "flag"
    if isinstance(parameter.type, click.Choice):
        return " or ".join(f"`{choice}`" for choice in parameter.type.choices)
    if isinstance(parameter.type, click.IntRange):
        most = f" to {parameter.type.max}" if parameter.type.max is not None else " or more"
        return f"{parameter.type.min}{most}"
    return str(parameter.type.name)


if __name__ == "__main__":
    sys.stdout.write(reference(built_in()))
