"""Look at what a session changed, or throw it away: `pairlock diff`, `pairlock discard`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.looking import Look
    from audit.state import SessionFiles

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
    from agent_runner.cli.review_shown import show, stat_line
    from agent_runner.looking import look_at
    from agent_runner.state import session_files, state_folder
    from sandbox.stage import summary

    _one_form(stat=stat, name_only=name_only, as_json=as_json)
    state = state_folder()
    files = session_files(session, state)
    finish_first(files, state)
    patch = not (stat or name_only or as_json)
    look = look_at(files, with_patch=patch, for_program=not sys.stdout.isatty())
    for line in (look.caution, summary.headline(look.changes)):
        if line:
            say(line)
    if as_json:
        typer.echo(summary.to_json(look.changes))
    elif name_only:
        show(summary.name_lines(look.changes))
    elif stat:
        show(map(stat_line, summary.stat_lines(look.changes)))
    else:
        _show_patch(files.folder, look)
    if not look.changes.changes:
        say("no changes")


def _one_form(**forms: bool) -> None:
    from agent_runner.errors import InvalidInputError

    given = [f"`--{name.removeprefix('as_').replace('_', '-')}`" for name, wanted in forms.items() if wanted]
    if len(given) > 1:
        raise InvalidInputError(f"{' and '.join(given)}: give one of them")


def finish_first(files: SessionFiles, state: Path) -> None:
    """Finish an apply that was killed, unless the session runs: then there is none."""
    from agent_runner.review import finish_interrupted
    from audit.lock import is_held
    from sandbox.stage.summary import terminal_safe

    for path in () if is_held(files.lock) else finish_interrupted(files, state):
        say(f"an interrupted apply was finished: {terminal_safe(path)}")


def _show_patch(folder: Path, look: Look) -> None:
    """Write the patch to a program as it is, its session and label above it; to a terminal escaped."""
    from agent_runner.cli.review_shown import patch_lines, show
    from agent_runner.review import label_lines
    from sandbox.stage.summary import terminal_safe

    patch = look.patch
    if sys.stdout.isatty():
        show(patch_lines(patch.text))
    elif patch.text:  # git takes what stands above the first `diff` line for a message
        sys.stdout.buffer.write("".join(f"{line}\n" for line in (*label_lines(folder), "")).encode())
        sys.stdout.buffer.write(patch.text)
        sys.stdout.buffer.flush()
    for trouble in (*look.changes.troubles, *patch.left_out):
        say(f"not shown: {terminal_safe(trouble.path)}: {trouble.reason}")


def discard(session: Id = "last") -> None:
    """Throw away what a session changed, or left as outputs; the workspace stays as it is."""
    from agent_runner.discarding import discard_outputs
    from agent_runner.state import session_files, state_folder
    from sandbox.stage.errors import StageBrokenError

    state = state_folder()
    files = session_files(session, state)
    with suppress(StageBrokenError):  # it goes all the same
        finish_first(files, state)
    changes, kept = discard_outputs(files, state)
    count = (
        "what cannot be read" if changes is None else f"{changes} {'change' if changes == 1 else 'changes'}"
    )
    what = [count] if changes != 0 or not kept else []
    what += [f"{kept} kept {'file' if kept == 1 else 'files'}"] if kept else []
    typer.echo(f"discarded {' and '.join(what)} of {files.folder.name}")
