"""Show what of a workspace nobody has reviewed, and endorse it: `pairlock review`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say


def review(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A workspace.")],
    endorse: Annotated[bool, typer.Option("--endorse", help="Say that you reviewed what is there.")] = False,
) -> None:
    """Show which sessions' unreviewed writes a workspace holds; `--endorse` takes the label off."""
    from agent_runner.lineage import labels_of, reviewed
    from agent_runner.state import state_folder
    from policies.capability import in_order
    from sandbox.workspace import open_workspace

    state = state_folder()
    workspace = open_workspace(folder, state=state)
    label = labels_of(state).read(workspace.identity)
    if not label.contributions:
        say("nothing unreviewed")
        return
    for part in label.contributions:
        typer.echo(f"{part.session}  {'+'.join(in_order(part.exercised)) or 'none'}")
    if not endorse:
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        say("pairlock: only a person at a terminal can endorse a workspace")
        raise typer.Exit(Exit.DENIED)
    if not typer.confirm("did you review what these sessions left in the workspace?", err=True):
        raise typer.Exit(Exit.FAILED)
    reviewed(state, workspace.identity)
    typer.echo("the label is off")
