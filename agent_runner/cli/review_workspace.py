"""Show what of a workspace nobody has reviewed, and endorse it: `pairlock review`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_runner.lineage_places import Unreviewed
    from sandbox.workspace import Workspace


def review(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A workspace.")],
    endorse: Annotated[bool, typer.Option("--endorse", help="Say that you reviewed what is there.")] = False,
) -> None:
    """Show which sessions' unreviewed writes a workspace holds; `--endorse` takes the label off."""
    from agent_runner.lineage import endorse as take_off
    from agent_runner.lineage import labels_of
    from agent_runner.lineage_places import Place, unreviewed
    from agent_runner.state import state_folder
    from sandbox.workspace import open_workspace

    state = state_folder()
    workspace = open_workspace(folder, state=state)
    _show_waiting(state, workspace)
    shown = unreviewed(labels_of(state), workspace.identity)
    _show_labels(shown)
    if all(found.place is Place.AROUND for found in shown):
        _tell_left(shown)
        say("nothing else is unreviewed" if shown else "nothing unreviewed")
        return
    if not endorse:
        say("hint: look at what is there, then take the label off with `--endorse`")
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        say("pairlock: only a person at a terminal can endorse a workspace")
        raise typer.Exit(Exit.DENIED)
    if not typer.confirm("did you review what these sessions left in the workspace?", err=True):
        raise typer.Exit(Exit.FAILED)
    take_off(state, workspace.identity, shown)
    left = unreviewed(labels_of(state), workspace.identity)
    _tell_left(left)
    typer.echo("what was shown is off" if left else "the label is off")


def _show_labels(shown: Iterable[Unreviewed]) -> None:
    """Print who wrote what nobody reviewed: in the folder, inside it, around it, and where one was."""
    from agent_runner.lineage_places import Place
    from policies.capability import in_order
    from sandbox.stage.summary import terminal_safe

    for found in shown:
        path = terminal_safe(found.folder.path)
        match found.place:
            case Place.HERE:
                pass
            case Place.INSIDE:
                typer.echo(f"in {path}")
            case Place.AROUND:
                typer.echo(f"around it, in {path}")
            case Place.GONE:
                typer.echo(f"gone, deleted or moved: {path}")
            case unknown:
                assert_never(unknown)
        for part in found.label.contributions:
            typer.echo(f"{part.session}  held {'+'.join(in_order(part.exercised)) or 'none'}, unreviewed")


def _tell_left(left: Iterable[Unreviewed]) -> None:
    """Say which labels still hold: those of folders around it, and what was written since it was shown."""
    from agent_runner.lineage_places import Place
    from sandbox.stage.summary import terminal_safe

    for found in left:
        path = terminal_safe(found.folder.path)
        where = "which lies around it" if found.place is Place.AROUND else "which was raised meanwhile"
        say(f"the label of `{path}`, {where}, still holds: `pairlock review {path}`")


def _show_waiting(state: Path, workspace: Workspace) -> None:
    """Say which sessions' changes wait for this folder; they are in no workspace yet, and label none."""
    from agent_runner.listing import listed
    from agent_runner.waiting import changes_waiting

    for row in listed(state):
        if row.workspace == str(workspace.path) and (count := changes_waiting(state, row.session)):
            what = "1 change waits" if count == 1 else f"{count} changes wait"
            say(f"{row.session}  {what}: `pairlock diff {row.session}`")
