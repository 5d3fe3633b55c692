"""Show what a session without `files` left, and put it in somewhere: `pairlock outputs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_runner.cli.review import Id, finish_first
from agent_runner.cli.talk import say


def outputs(
    session: Id = "last",
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Make them changes of this folder, to review and apply."),
    ] = None,
) -> None:
    """Show what a session without `files` left in its outputs folder."""
    from agent_runner.outputs import output_names, put_in
    from agent_runner.state import session_files, state_folder
    from sandbox.stage.summary import terminal_safe

    state = state_folder()
    files = session_files(session, state)
    if to is None:
        names = output_names(files)
        for name in names:
            typer.echo(terminal_safe(name))
        if not names:
            say("no outputs")
        return
    finish_first(files, state)
    count = put_in(files, state, to)
    what = "1 file waits" if count == 1 else f"{count} files wait"
    typer.echo(f"{what} for a review: `pairlock diff {files.folder.name}`, then `apply` or `discard`")
