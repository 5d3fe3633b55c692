"""Write docs/wrapped-options.md: what programs like our commands can be talked into, and what holds here.

`python -m cli_tools.wrapped > docs/wrapped-options.md`, in the checkout; a test holds the page to the code.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli_tools.action import Catalogue, LineProposal
from cli_tools.catalogue import built_in
from cli_tools.declared import declared_commands
from cli_tools.errors import UsageError
from cli_tools.reference import needs_of
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli_tools.command import Command

_HEAD: Final = """# Options that execute, write or connect

Programs can be talked into more than their name says: `find -exec`, `git -c`, `tar --checkpoint-action`. A
command of pairlock takes the options that it declares and no other, so that none of these reaches a program.
The page is generated (`python -m cli_tools.wrapped > docs/wrapped-options.md`) from a list with the source of
each line; a test tries every line on every command, and every option that the programs' own `--help` names.

*git*, *files* and *http* start no program: they stand for the ones named here, and are held to the same list.
The commands `lines count`, `lines sort` and `archive list` are those of
[examples/commands](../examples/commands/text.yaml). Whatever starts a program of the agent's choosing, with
whatever options, needs `exec`:

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a program."""

    option: str
    can: str
    """What it can do: executes, writes, connects, reads elsewhere."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """A program, and the commands that stand for it."""

    program: str
    source: str
    """Where its options are described."""
    page: str
    commands: tuple[str, ...]
    options: tuple[Option, ...]


def wrapped() -> tuple[Wrapped, ...]:
    """Return the list."""
    text = (files("cli_tools") / "data" / "wrapped_options.toml").read_text("utf-8")
    return tuple(
        Wrapped(
            program=entry["program"],
            source=entry["source"],
            page=entry["page"],
            commands=tuple(entry["commands"]),
            options=tuple(Option(**option) for option in entry["options"]),
        )
        for entry in tomllib.loads(text)["wrapped"]
    )


def catalogue_of(declared: Path) -> Catalogue:
    """Return the built-in commands and those of the files in a folder."""
    texts = [(path.name, path.read_text("utf-8")) for path in sorted(declared.glob("*.yaml"))]
    made = [command for name, text in texts for _, command in declared_commands(text, origin=name)]
    return Catalogue((*built_in().commands, *made))


def require_refused(catalogue: Catalogue, command: Command, option: str) -> None:
    """Return if a command takes no such option, with a value or without.

    Raises:
        LookupError: When it takes it, or refuses the line for another reason.
    """
    rest = command.examples[0].removeprefix(command.name)
    for word in (option, f"{option}=x"):
        try:
            catalogue.parse(LineProposal(line=f"{command.name} {word}{rest}"))
        except UsageError as error:
            if "no such option" in error.message:
                continue
        raise LookupError(f"`{command.name}` does not refuse the option `{word}`")


def page(catalogue: Catalogue) -> str:
    """Return the page."""
    by_name = {command.name: command for command in catalogue.commands}
    free = [f"`{command.name}`" for command in catalogue.commands if _is_free(command)]
    sections = "".join(_section(catalogue, by_name, entry) for entry in wrapped())
    return f"{_HEAD}    {', '.join(free).replace('`', '')}\n{sections}"


def _is_free(command: Command) -> bool:
    return Capability.EXEC in command.needs and bool(command.program or command.fixed_program)


def _section(catalogue: Catalogue, by_name: dict[str, Command], entry: Wrapped) -> str:
    source = f"Source: [{entry.page}]({entry.source})."
    stand = "Commands that stand for it:" if entry.commands else "A declared command has no value there."
    lines = ["", f"## {entry.program}", "", f"{source} {stand}", *([""] if entry.commands else [])]
    lines += [f"- `{name}` (needs {needs_of(by_name[name])})" for name in entry.commands]
    lines += ["", "| option | can | what | here |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *_rows(catalogue, by_name, entry)]) + "\n"


def _rows(catalogue: Catalogue, by_name: dict[str, Command], entry: Wrapped) -> Iterator[str]:
    for option in entry.options:
        for name in entry.commands:
            require_refused(catalogue, by_name[name], option.option)
        yield f"| `{option.option}` | {option.can} | {option.what} | refused |"


if __name__ == "__main__":
    sys.stdout.write(page(catalogue_of(Path("examples/commands"))))
