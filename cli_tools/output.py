"""Declare `output last`: the rest of an answer that was cut. It shows nothing that was not allowed before."""

from __future__ import annotations

from typing import Final

import click

from cli_tools.command import Command, Outcome, Surroundings, command
from cli_tools.errors import ActionError

PAGE_BYTES: Final = 40_000


@command(
    "output last",
    runs="host",
    parameters=(
        click.Option(
            ["--from", "start"],
            type=click.IntRange(0),
            default=0,
            help="The first byte to show, counted from 0; a cut answer names it.",
        ),
    ),
    examples=("output last --from 32000",),
)
async def last_output(surroundings: Surroundings, *, start: int) -> Outcome:
    """Show more of the last answer that was cut, from a byte on."""
    earlier = surroundings.earlier
    if earlier is None or not earlier.content.raw:
        raise ActionError("nothing", "no answer was cut so far")
    total = len(earlier.content.raw)
    if start >= total:
        raise ActionError("range", f"the answer of {earlier.action} has {total} bytes")
    text, end = earlier.content.page(start, PAGE_BYTES)
    more = f"; go on with `output last --from {end}`" if end < total else ""
    note = f"bytes {start} to {end} of {total} of {earlier.action}{more}"
    return Outcome(exit_code=0, text=text, note=note)


COMMANDS: Final[tuple[Command, ...]] = (last_output,)
