"""Review what a session changed: `pairlock diff`, `pairlock apply`, `pairlock discard`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

Id = Annotated[
    str, typer.Argument(metavar="ID", help="A session's id, the first 4 of it or more, or `last`.")
]


def diff(
    session: Id = "last",
    stat: Annotated[bool, typer.Option("--stat", help="One line for each change.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="Only the paths.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what a session changed, as a patch that `git apply` takes."""
    from agent_runner.review import opened
    from agent_runner.state import session_files, state_folder
    from sandbox.stage import summary
    from sandbox.stage.diff import render_diff

    files = session_files(session, state_folder())
    with opened(files.folder) as (stage, changes):
        headline = summary.headline(changes)
        if headline:
            say(headline)
        if as_json:
            typer.echo(summary.to_json(changes))
        elif name_only or stat:
            lines = summary.name_lines(changes) if name_only else summary.stat_lines(changes)
            for line in lines:
                typer.echo(line)
        else:
            patch = render_diff(stage, changes.changes)
            _print_patch(patch.text)
            for trouble in (*changes.troubles, *patch.left_out):
                say(f"not shown: {summary.terminal_safe(trouble.path)}: {trouble.reason}")
        if not changes.changes:
            say("no changes")


def _print_patch(patch: bytes) -> None:
    """Write the patch as it is to a program, escaped and coloured to a terminal."""
    from sandbox.stage.summary import diff_for_terminal

    if not sys.stdout.isatty():
        sys.stdout.buffer.write(patch)
        return
    for line in diff_for_terminal(patch).splitlines():
        typer.secho(line, fg=_colour(line))


def _colour(line: str) -> str | None:
    if line.startswith(("+++", "---", "diff ")):
        return None
    return {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}.get(line[:1])


def apply(
    session: Id = "last",
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH...]", help="Only these paths or globs.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", help="A protected path to take all the same.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Write a session's changes to the workspace, after they were reviewed."""
    from agent_runner.review import apply_stage, opened, refuse_running
    from agent_runner.state import session_files, state_folder
    from sandbox.stage import summary

    state = state_folder()
    files = session_files(session, state)
    refuse_running(files)
    with opened(files.folder) as (_, changes):
        for line in (summary.headline(changes), *summary.stat_lines(changes)):
            if line:
                say(line)
        if not changes.changes:
            say("no changes")
            return
    person = sys.stdin.isatty() and not os.environ.get("CI")
    if not yes and not person:
        say("pairlock: nobody is there to say yes")
        say("hint: `--yes` applies unreviewed changes, and labels the workspace with what the session held")
        raise typer.Exit(Exit.USAGE)
    if not yes and not typer.confirm("write these to the workspace?", err=True):
        raise typer.Exit(Exit.FAILED)
    shown = changes if person and not yes else None
    result = apply_stage(files, state, paths=paths or (), include=include or (), shown=shown)
    for path in result.applied:
        typer.echo(f"applied  {summary.terminal_safe(path)}")
    for item in result.not_applied:
        typer.echo(f"refused  {summary.terminal_safe(item.path)}: {item.reason}")
        if item.code.value in ("protected", "hidden", "leads-out"):
            say(f"hint: to take it all the same, `pairlock apply {files.folder.name} --include PATH`")
    if result.not_applied:
        raise typer.Exit(Exit.FAILED)


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


def discard(session: Id = "last") -> None:
    """Throw away what a session changed; the workspace stays as it is."""
    from agent_runner.review import discard_stage
    from agent_runner.state import session_files, state_folder

    state = state_folder()
    files = session_files(session, state)
    count = discard_stage(files, state)
    typer.echo(f"discarded {count} {'change' if count == 1 else 'changes'} of {files.folder.name}")
