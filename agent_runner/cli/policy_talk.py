"""What the commands on policies share: the commands that exist, and JSON on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from policies.canonical import Plain
    from policies.facts import CommandFacts

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def commands() -> tuple[CommandFacts, ...]:
    """Return the commands that policies may name."""
    from agent_runner.commands import known_commands
    from cli_tools.vocabulary import vocabulary

    return vocabulary(known_commands())


def print_json(value: Plain) -> None:
    """Print one value as JSON."""
    import json

    typer.echo(json.dumps(value, indent=2, default=list))
