"""Remove leftovers: `pairlock clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_runner.cli.talk import say


def clean(
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Also throw away changes that nobody has reviewed.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also remove the runtime volume and the images pairlock built.")
    ] = False,
) -> None:
    """Remove containers and stages of sessions that have ended; ledgers and unreviewed changes stay."""
    import asyncio

    from agent_runner.state import state_folder

    count = asyncio.run(_clean(state_folder(), unreviewed=unreviewed, everything=everything))
    if not count:
        say("nothing to remove")


async def _clean(state: Path, *, unreviewed: bool, everything: bool) -> int:
    from agent_runner.clean import clean

    count = 0
    async for line in clean(state, unreviewed=unreviewed, everything=everything):
        typer.echo(line)
        count += 1
    return count
