"""Say whether this machine can run sessions: `pairlock doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit

if TYPE_CHECKING:
    from agent_runner.doctor import Finding


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list with one object for each finding.")
    ] = False,
) -> None:
    """Look at what a session needs, and say how to mend what is missing."""
    import asyncio
    import dataclasses
    import json

    found = asyncio.run(_look(quiet=as_json))
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in found]))
    if any(finding.standing == "missing" for finding in found):
        raise typer.Exit(Exit.SANDBOX)


async def _look(*, quiet: bool) -> list[Finding]:
    from agent_runner.doctor import findings
    from agent_runner.state import state_folder
    from audit.escape import escape_line

    found: list[Finding] = []
    async for finding in findings(state_folder()):
        found.append(finding)
        if not quiet:
            typer.echo(f"{finding.standing:<8}{finding.name:<16}{escape_line(finding.text)}")
            if finding.mend:
                typer.echo(f"{'':<24}mend: {escape_line(finding.mend)}")
    return found
