"""Declare `output last`: the rest of an answer that was cut. It shows nothing that was not allowed before."""

from __future__ import annotations

from typing import Final

import click

from cli_tools import neutral
from cli_tools.command import Command, Outcome, Surroundings, command
from cli_tools.errors import ActionError

PAGE_CHARACTERS: Final = 40_000


@command(
    "output last",
    runs="host",
    parameters=(
        click.Option(
            ["--from", "start"],
            type=click.IntRange(0),
            default=0,
            help="The first character to show, counted from 0; a cut answer names it.",
        ),
    ),
    examples=("output last --from 32000",),
)
async def last_output(surroundings: Surroundings, *, start: int) -> Outcome:
    """Show more of the last answer that was cut, from a character on."""
    earlier = surroundings.earlier
    if earlier is None or not earlier.text:
        raise ActionError("nothing", "no answer was cut so far")
    total = len(earlier.text)
    if start >= total:
        raise ActionError("range", f"the answer of {earlier.action} has {total} characters")
    end = neutral.whole(earlier.text, min(start + PAGE_CHARACTERS, total))
    notes = [f"characters {start} to {end} of {total} of {earlier.action}"]
    if end < total:
        notes.append(f"go on with `output last --from {end}`")
    elif earlier.dropped:
        notes.append(f"{earlier.dropped} more were not kept")
    return Outcome(exit_code=0, text=earlier.text[start:end], note="; ".join(notes))


COMMANDS: Final[tuple[Command, ...]] = (last_output,)
