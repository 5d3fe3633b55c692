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
    from collections.abc import Iterable, Sequence

    from agent_runner.lineage_places import Unreviewed
    from agent_runner.lineage_wrote import Wrote
    from sandbox.workspace import Workspace


def review(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A workspace.")],
    session: Annotated[
        list[str] | None,
        typer.Option("--session", metavar="ID", help="Only what this session left; may be repeated."),
    ] = None,
    endorse: Annotated[bool, typer.Option("--endorse", help="Say that you reviewed what is there.")] = False,
) -> None:
    """Show which sessions' unreviewed writes a workspace holds; `--endorse` takes the label off."""
    from agent_runner.label_restore import restore_labels
    from agent_runner.lineage import endorse as take_off
    from agent_runner.lineage import labels_of
    from agent_runner.lineage_beside import refuse_writing
    from agent_runner.lineage_places import Place, unreviewed
    from agent_runner.state import state_folder
    from sandbox.stage.summary import terminal_safe
    from sandbox.workspace import open_workspace

    state = state_folder()
    workspace = open_workspace(folder, state=state)
    for path in restore_labels(state, workspace.identity):
        say(f"the label of `{terminal_safe(path)}` was damaged or gone, and is as the host's log says now")
    if endorse:
        refuse_writing(state, workspace.identity)  # what one writes after the look would be called reviewed
    _show_waiting(state, workspace)
    shown = _chosen(unreviewed(labels_of(state), workspace.identity), session or ())
    _show_labels(state, shown)
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


def _chosen(found: tuple[Unreviewed, ...], wanted: Sequence[str]) -> tuple[Unreviewed, ...]:
    """Return the labels of the sessions that were named, by their first letters; all where none was."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.lineage_places import only_of
    from policies.wording import listed, quoted

    if not wanted:
        return found
    there = {part.session for one in found for part in one.label.contributions}
    sessions: set[str] = set()
    for word in wanted:
        meant = {session for session in there if word and session.startswith(word)}
        if len(meant) != 1:
            what = "no session" if not meant else f"{len(meant)} sessions"
            raise InvalidInputError(
                f"{quoted(word)} is {what} of which something is unreviewed there",
                hint=f"one of: {listed(sorted(there))}" if there else "nothing is unreviewed there",
            )
        sessions |= meant
    return only_of(found, frozenset(sessions))


def _show_labels(state: Path, shown: Sequence[Unreviewed]) -> None:
    """Print who wrote what nobody reviewed: in the folder, inside it, around it, and where one was."""
    from agent_runner.label_log import applied_by
    from agent_runner.lineage_places import Place
    from agent_runner.lineage_wrote import wrote
    from audit.index import read_index
    from audit.state import StateFiles
    from policies.capability import in_order
    from sandbox.stage.summary import terminal_safe

    applied = applied_by(state) if shown else {}
    index = read_index(StateFiles(state)) if shown else None
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
            session = terminal_safe(part.session)
            typer.echo(f"{session}  {'+'.join(in_order(part.exercised)) or 'none'}, unreviewed")
            for line in _written(wrote(state, part.session, applied, index)):
                typer.echo(f"  {line}")


def _written(wrote: Wrote) -> Iterable[str]:
    """Return what a session wrote, for a terminal."""
    from sandbox.stage.summary import terminal_safe

    yield from map(terminal_safe, wrote.paths)
    if wrote.programs:
        yield "and what its programs wrote: any file there may be theirs"
    if wrote.unknown:
        yield "its ledger cannot be read: any file there may be its work"


def _tell_left(left: Iterable[Unreviewed]) -> None:
    """Say which labels still hold, and what shows them: of folders around it, and what was not endorsed."""
    from agent_runner.lineage_places import Place
    from agent_runner.lineage_told import review_line
    from sandbox.stage.summary import terminal_safe

    for found in left:
        path = terminal_safe(found.folder.path)
        where = "which lies around it" if found.place is Place.AROUND else "not shown or raised meanwhile"
        say(f"the label of `{path}`, {where}, still holds: `{review_line(found.folder.path)}`")


def _show_waiting(state: Path, workspace: Workspace) -> None:
    """Say which sessions' changes wait for this folder; they are in no workspace yet, and label none."""
    from agent_runner.listing import listed
    from agent_runner.waiting import changes_waiting

    for row in listed(state):
        if row.workspace == str(workspace.path) and (count := changes_waiting(state, row.session)):
            what = "1 change waits" if count == 1 else f"{count} changes wait"
            say(f"{row.session}  {what}: `pairlock diff {row.session}`")
