"""Show the sessions of this user: `pairlock ps`."""

from __future__ import annotations

from typing import Annotated

import typer

from agent_runner.cli.talk import say


def list_sessions(
    every: Annotated[bool, typer.Option("--all", "-a", help="Also those that have ended.")] = False,
) -> None:
    """Show running sessions, and those whose changes wait for a review or whose outputs are kept."""
    from agent_runner.counted import counted
    from agent_runner.listing import listed
    from agent_runner.outputs import output_names
    from agent_runner.state import state_folder
    from agent_runner.waiting import changes_waiting
    from audit.escape import escape_line
    from audit.state import StateFiles

    state = state_folder()
    shown = 0
    for row in listed(state):
        waiting = changes_waiting(state, row.session)
        kept = bool(output_names(StateFiles(state).session(row.session)))
        if not (every or waiting or kept or row.status == "running"):
            continue
        shown += 1
        changes = f"{counted(waiting, 'change')} waiting" if waiting else ""
        waits = f"waits for {row.waits_for}" if row.waits_for else ""
        left = ", ".join(filter(None, (waits, changes, "outputs kept" if kept else "")))
        typer.echo(escape_line(f"{row.session}  {row.status:<14}  {row.grant:<13}  {left}").rstrip())
    if not shown:
        say("no session is running, and no changes wait for a review")
