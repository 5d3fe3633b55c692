"""Write docs/command-line.md from the commands: `python -m agent_runner.cli.reference > docs/…`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command

from agent_runner.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.core import TyperCommand

_HEAD: Final = """# The command line

Every command of `pairlock`, with its options. The page is generated from the commands
(`python -m agent_runner.cli.reference > docs/command-line.md`), and a test holds it to them. What an *agent*
can call is in [commands.md](commands.md).

- What is asked for is on stdout, talk is on stderr; `--json` is for programs. `NO_COLOR` is obeyed.
- A session is named by its id, the first 4 characters of it or more, `last`, which is this user's newest, or
  `last:FOLDER`, the newest on that workspace. Times are UTC.
- What is not valid is one line on stderr, with a line `hint:` below it where there is one, and an exit code
  of the [README's table](../README.md#exit-codes). Words that are no such command are told in one line below
  its usage.
- `-h` or `--help` after any command explains it.

| command | |
| --- | --- |
"""


def every_command() -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    """Yield each command and group that is not hidden, with its name, `pairlock` itself first."""
    yield from _below("pairlock", get_command(app))


def _below(name: str, command: object) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    yield name, command  # type: ignore[misc]  # typer's own classes, which its types call by their base
    if isinstance(command, TyperGroup):
        for word, one in command.commands.items():
            if not one.hidden:
                yield from _below(f"{name} {word}", one)


def reference() -> str:
    """Return the page."""
    found = [(name, one) for name, one in every_command() if not isinstance(one, TyperGroup)]
    rows = "".join(f"| [`{name}`](#{name.replace(' ', '-')}) | {_sentence(one)} |\n" for name, one in found)
    return _HEAD + rows + "".join(_section(name, one) for name, one in found)


def _sentence(command: TyperCommand | TyperGroup) -> str:
    return (command.help or "").partition("\n\n")[0].replace("\n", " ")


def _section(name: str, command: TyperCommand | TyperGroup) -> str:
    places = (_usage(each) for each in command.params if isinstance(each, TyperArgument))
    usage = " ".join([name, *places])
    lines = ["", f"## {name}", "", (command.help or "").strip(), "", f"    {usage}"]
    facts = [fact for each in command.params if (fact := _fact(each))]
    return "\n".join([*lines, *([""] if facts else []), *facts]) + "\n"


def _usage(argument: TyperArgument) -> str:
    place = _place(argument) + ("..." if argument.nargs == -1 else "")
    # What `exec` runs is missed by the command itself, with a code of its own.
    return place if argument.required or place == "-- COMMAND..." else f"[{place}]"


def _place(argument: TyperArgument) -> str:
    return str(argument.metavar or (argument.name or "").upper())


def _fact(parameter: object) -> str:
    match parameter:
        case TyperArgument(help=said):
            return f"- `{_place(parameter)}`: {_ended(said)}"
        case TyperOption(help=said, hidden=False):
            value = _value(parameter)
            names = ", ".join(f"`{name}{value}`" for name in parameter.opts)
            return f"- {names}: {_ended(said)}{' Required.' if parameter.required else ''}"
        case _:
            return ""


def _value(option: TyperOption) -> str:
    if option.is_flag:
        return ""
    described = option.type_descriptor
    if described.is_choice:
        return " " + "|".join(str(getattr(choice, "value", choice)) for choice in described.choices or ())
    kinds = {"int": "N", "str": "TEXT"}
    return f" {option.metavar or kinds.get(option.bare_type(), 'PATH')}"


def _ended(said: str | None) -> str:
    return "" if said is None else said if said.endswith(".") else f"{said}."


if __name__ == "__main__":
    sys.stdout.write(reference())
