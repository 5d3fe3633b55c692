"""Take what a session changed: `pairlock apply`, whole, by name, hunk by hunk, or as a git branch."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.review import Id, finish_first
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.review import Choice
    from audit.state import SessionFiles
    from sandbox.stage import NotApplied
    from sandbox.stage.changes import ChangeSet


def apply(  # noqa: PLR0913, PLR0917 - the options of `apply`, each once
    session: Id = "last",
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Only these paths, folders or globs.")
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATH", help="A protected path to take all the same."),
    ] = None,
    by_hunk: Annotated[
        bool, typer.Option("--patch", "-p", help="Choose change by change, and text hunk by hunk.")
    ] = False,
    to_branch: Annotated[
        str | None,
        typer.Option(
            "--to-branch", metavar="NAME", help="Commit to a new git branch; files stay as they are."
        ),
    ] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="What that commit says.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; labels the workspace.")] = False,
) -> None:
    """Write a session's changes to the workspace, after they were reviewed."""
    from agent_runner.at_work import refuse_running
    from agent_runner.state import session_files, state_folder

    person = sys.stdin.isatty() and not os.environ.get("CI")
    _check_options(by_hunk=by_hunk, yes=yes, person=person, message=message, to_branch=to_branch)
    state = state_folder()
    files = session_files(session, state)
    refuse_running(files)
    finish_first(files, state)
    changes = _shown(files, paths or (), include or ())
    if not changes.changes:
        say("no changes")
        return
    choice = _chosen(files, changes, paths or (), include or (), by_hunk=by_hunk)
    if choice is None:
        say("nothing was chosen")
        return
    if not (yes or person):
        say("pairlock: nobody is there to say yes")
        say("hint: `--yes` applies unreviewed changes, and labels the workspace with what the session held")
        raise typer.Exit(Exit.USAGE)
    where = f"commit these to the new branch `{to_branch}`?" if to_branch else "write these to the workspace?"
    if not (yes or by_hunk) and not typer.confirm(where, err=True):
        raise typer.Exit(Exit.FAILED)
    _take(files, state, choice if person and not yes else _unseen(choice), to_branch, message)


def _check_options(
    *, by_hunk: bool, yes: bool, person: bool, message: str | None, to_branch: str | None
) -> None:
    from agent_runner.errors import InvalidInputError

    if by_hunk and yes:
        raise InvalidInputError("`--patch` and `--yes`: give one of them")
    if by_hunk and not person:
        raise InvalidInputError(
            "`--patch` asks questions, and nobody is there", hint="name paths or globs instead"
        )
    if message is not None and to_branch is None:
        raise InvalidInputError("`--message` is for a commit", hint="give `--to-branch NAME` too")


def _shown(files: SessionFiles, paths: Sequence[str], include: Sequence[str]) -> ChangeSet:
    """Show every change in one line, and return them; a word that names none is refused first, and alone."""
    from agent_runner.looking import lost_copy
    from agent_runner.review import Choice, opened
    from sandbox.stage import summary

    with opened(files.folder) as (_, changes):
        if changes.changes:
            Choice(shown=changes, paths=paths, include=include).matchers(changes)
        for line in (lost_copy(files), summary.headline(changes), *summary.stat_lines(changes)):
            if line:
                say(line)
        return changes


def _chosen(
    files: SessionFiles,
    changes: ChangeSet,
    paths: Sequence[str],
    include: Sequence[str],
    *,
    by_hunk: bool,
) -> Choice | None:
    """Return what is to be taken; None when a person went through all of it and took nothing."""
    from agent_runner.cli.review_hunks import Picker
    from agent_runner.review import Choice, opened

    whole = Choice(shown=changes, paths=paths, include=include)
    if not by_hunk:
        return whole
    named, included = whole.matchers(changes)
    with opened(files.folder) as (stage, now):
        offered = [change for change in now.changes if named is None or named.matches(change.path)]
        picked = Picker(stage, ask=_ask, tell=say).walk(offered, included)
    if not picked.paths:
        return None
    return Choice(shown=changes, paths=picked.paths, include=include, contents=picked.contents, exact=True)


def _ask(question: str) -> str:
    try:
        return str(typer.prompt(question, err=True, default="", show_default=False))
    except typer.Abort:
        return ""


def _unseen(choice: Choice) -> Choice:
    from dataclasses import replace

    return replace(choice, shown=None)


def _take(
    files: SessionFiles, state: Path, choice: Choice, to_branch: str | None, message: str | None
) -> None:
    """Do what was chosen, and tell it."""
    from agent_runner.person import author
    from agent_runner.review import apply_stage, branch_stage, commit_text
    from sandbox.stage.summary import terminal_safe

    if to_branch is None:
        result = apply_stage(files, state, choice)
        for path in result.applied:
            part = " (the chosen hunks)" if path in result.partly else ""
            typer.echo(f"applied  {terminal_safe(path)}{part}")
        refused = result.not_applied
    else:
        said = message or f"Apply the changes of session {files.folder.name}"
        text = commit_text(files, said, unreviewed=choice.shown is None, author=author())
        made = branch_stage(files, state, choice, branch=to_branch, text=text)
        for path in made.committed:
            typer.echo(f"committed  {terminal_safe(path)}")
        typer.echo(f"branch {terminal_safe(made.branch)} is at {made.commit[:12]}")
        refused = made.not_committed
    if refused:
        _tell_refused(files.folder.name, refused)


def _tell_refused(session: str, refused: Sequence[NotApplied]) -> NoReturn:
    from policies.package_data import default_globs
    from sandbox.stage.summary import terminal_safe

    for item in refused:
        typer.echo(f"refused  {terminal_safe(item.path)}: {item.reason}")
    if any(item.code.value in ("protected", "hidden", "leads-out") for item in refused):
        say(f"hint: to take such a path all the same, `pairlock apply {session} --include PATH`")
    if all(item.code.value == "protected" and default_globs("removable").find(item.path) for item in refused):
        say(
            "hint: Python makes compiled code again by itself; "
            f"`pairlock discard {session}` drops it, with whatever else is left"
        )
    raise typer.Exit(Exit.FAILED)
