"""Declare `finish`: the agent says that it is done, or that it cannot go on. Every grant has it."""

from __future__ import annotations

from typing import Final, Literal

import click

from cli_tools.command import Command, Outcome, Surroundings, command


@command(
    "finish",
    runs="host",
    parameters=(
        click.Option(
            ["--status"], type=click.Choice(["done", "failed"]), required=True, help="How the task ended."
        ),
        click.Argument(["summary"], required=False, default=""),
    ),
    examples=("finish --status done 'the tests pass'",),
)
async def finish(surroundings: Surroundings, *, status: Literal["done", "failed"], summary: str) -> Outcome:  # noqa: ARG001 - every command has the same shape
    """End the session: say whether the task is done, and summarise what was found or changed."""
    return Outcome(exit_code=0, output=summary.encode("utf-8", "replace"), ends_session=status)


COMMANDS: Final[tuple[Command, ...]] = (finish,)
