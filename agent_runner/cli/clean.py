"""Remove leftovers: `pairlock clean`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit, explain
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.clean import Cleaned, Cleaning


def clean(
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Also throw away changes that nobody has reviewed.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also remove the runtime volume and the images pairlock built.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
) -> None:
    """Remove containers and stages of sessions that have ended; ledgers and unreviewed changes stay."""
    import asyncio

    from agent_runner.clean import Cleaning
    from agent_runner.state import state_folder

    wanted = Cleaning(unreviewed=unreviewed, everything=everything, dry_run=dry_run)
    found = asyncio.run(_clean(state_folder(), wanted))
    if not found:
        say("nothing to remove")
    if any(cleaned.error is not None for cleaned in found):
        raise typer.Exit(Exit.FAILED)


async def _clean(state: Path, wanted: Cleaning) -> list[Cleaned]:
    from agent_runner.clean import clean

    found = []
    async for cleaned in clean(state, wanted):
        if cleaned.kept:
            say(f"kept {cleaned.name}: {cleaned.kept}")
            continue
        found.append(cleaned)
        if cleaned.error is not None:
            say(f"pairlock: {cleaned.name} is still there: {explain(cleaned.error)}")
        else:
            typer.echo(f"{'would remove' if wanted.dry_run else 'removed'} {cleaned.name}")
    return found
