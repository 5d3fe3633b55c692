"""Show the sessions of this user: `pairlock ps`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from agent_runner.listing import Row

_BEFORE_FOLDER: Final = 63
"""Columns of what stands before the folder."""
_SHORTEST: Final = 16


def list_sessions(
    every: Annotated[bool, typer.Option("--all", "-a", help="Every session.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, for each session.")
    ] = False,
) -> None:
    """Show running sessions, and those that can go on, have changes for a review or have kept outputs."""
    import json

    from agent_runner.cli.folding import columns_of, tell
    from agent_runner.listing import listed
    from agent_runner.outputs import output_names
    from agent_runner.state import state_folder
    from agent_runner.waiting import changes_waiting
    from audit.escape import escape_line
    from audit.state import StateFiles

    state, columns = state_folder(), columns_of(sys.stdout)
    shown = 0
    for row in listed(state):
        changes = changes_waiting(state, row.session)
        kept = bool(output_names(StateFiles(state).session(row.session)))
        if not (every or changes or kept or row.resume or row.status == "running"):
            continue
        shown += 1
        if as_json:
            typer.echo(json.dumps({**row.as_json(), "changes": changes, "outputs_kept": kept}))
        else:
            tell(escape_line(_line(row, changes, kept=kept, columns=columns)), indent=14)
    if not shown and not as_json:
        say("no session is running, and none waits for a review or can go on")


def _line(row: Row, changes: int, *, kept: bool, columns: int) -> str:
    from agent_runner.counted import counted

    folder = shortened(row.workspace or "-", max(_SHORTEST, columns - _BEFORE_FOLDER)) if columns else ""
    left = (
        f"waits for {row.waits_for}" if row.waits_for else "",
        f"{counted(changes, 'change')} waiting" if changes else "",
        "outputs kept" if kept else "",
        f"`{row.resume}`" if row.resume else "",
    )
    began = row.started[:16].replace("T", " ")
    place = folder or row.workspace or "-"
    line = f"{row.session}  {began:<16}  {row.status:<14}  {row.grant:<13}  {place}"
    return "  ".join([line, ", ".join(filter(None, left))]).rstrip()


def shortened(folder: str, room: int) -> str:
    """Return a folder's path in so many columns: its end, behind `~` or `...` for what is left out.

    A last part that is longer is cut at its front; `pairlock show` has all of it.
    """
    home = str(Path.home())
    told = f"~{folder.removeprefix(home)}" if folder == home or folder.startswith(f"{home}/") else folder
    if len(told) <= room:
        return told
    end = told[len(told) - room + 3 :]
    slash = end.find("/")
    return "..." + (end[slash:] if 0 <= slash < len(end) - 1 else end)
