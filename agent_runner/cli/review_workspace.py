"""Show what of a workspace nobody has reviewed, and endorse it: `pairlock review`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from policies.lineage import Label
    from sandbox.workspace import Workspace


def review(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A workspace.")],
    endorse: Annotated[bool, typer.Option("--endorse", help="Say that you reviewed what is there.")] = False,
) -> None:
    """Show which sessions' unreviewed writes a workspace holds; `--endorse` takes the label off."""
    from agent_runner.lineage import reviewed
    from agent_runner.state import state_folder
    from sandbox.workspace import open_workspace

    state = state_folder()
    workspace = open_workspace(folder, state=state)
    _show_waiting(state, workspace)
    if not _show_labels(state, workspace):
        say("nothing unreviewed")
        return
    if not endorse:
        say("hint: look at what is there, then take the label off with `--endorse`")
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        say("pairlock: only a person at a terminal can endorse a workspace")
        raise typer.Exit(Exit.DENIED)
    if not typer.confirm("did you review what these sessions left in the workspace?", err=True):
        raise typer.Exit(Exit.FAILED)
    reviewed(state, workspace.identity)
    typer.echo("the label is off")


def _show_labels(state: Path, workspace: Workspace) -> bool:
    """Print who wrote what nobody reviewed, in the folder, inside it and around it; tell whether any did."""
    from agent_runner.lineage import labels_beside, labels_of
    from sandbox.stage.summary import terminal_safe

    own = labels_of(state).read(workspace.identity)
    _print(own)
    for other, label in labels_beside(state, workspace.identity):
        typer.echo(f"in {terminal_safe(other.path)}")
        _print(label)
        own = own.joined(label)
    return bool(own.contributions)


def _print(label: Label) -> None:
    from policies.capability import in_order

    for part in label.contributions:
        typer.echo(f"{part.session}  held {'+'.join(in_order(part.exercised)) or 'none'}, unreviewed")


def _show_waiting(state: Path, workspace: Workspace) -> None:
    """Say which sessions' changes wait for this folder; they are in no workspace yet, and label none."""
    from agent_runner.listing import listed
    from agent_runner.waiting import changes_waiting

    for row in listed(state):
        if row.workspace == str(workspace.path) and (count := changes_waiting(state, row.session)):
            what = "1 change waits" if count == 1 else f"{count} changes wait"
            say(f"{row.session}  {what}: `pairlock diff {row.session}`")
