"""Throw away what a session left; a person's decision is an entry of the host's log."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agent_runner.at_work import runners_kept_out
from agent_runner.errors import NoFactsError
from agent_runner.meta import read_meta
from agent_runner.outputs import output_names, remove_outputs, tidy_outputs
from agent_runner.package import pairlock_version
from agent_runner.person import who
from agent_runner.review import finish_kept_still, opened
from audit.event import StageDiscarded
from audit.host import HostLog
from sandbox.stage import StageFolder, discard
from sandbox.stage.errors import StageBrokenError

if TYPE_CHECKING:
    from pathlib import Path

    from audit.state import SessionFiles


def discard_outputs(session: SessionFiles, state: Path) -> tuple[int | None, int]:
    """Throw away a session's changes and its kept outputs; return how many changes and files there were.

    None stands for the changes of a stage that cannot be read.

    Raises:
        InvalidInputError: When the session is still running.
        sandbox.stage.errors.StageError: When there is neither.
    """
    with runners_kept_out(session):
        tidy_outputs(session.folder)
        files = len(output_names(session))
        changes: int | None = 0
        if not files or StageFolder(session.folder / "stage").path.exists():
            changes = _discard(session, state)
        else:
            note_discarded(session.folder, state, workspace="", why="a person discarded its outputs")
        remove_outputs(session.folder)
    return changes, files


def discard_stage(session: SessionFiles, state: Path) -> int | None:
    """Throw away a session's changes, record it, and return how many there were.

    Of a stage that is damaged, or of an earlier format, nobody can say: None. An apply of it that was
    interrupted goes with it.

    Raises:
        InvalidInputError: When the session is still running.
        sandbox.stage.errors.StageError: When there is no stage, or its workspace is gone.
    """
    with runners_kept_out(session):
        return _discard(session, state)


def _discard(session: SessionFiles, state: Path) -> int | None:
    count: int | None = None
    try:
        finish_kept_still(session, state)
        with opened(session.folder) as (stage, changes):
            count, workspace = len(changes.changes), stage.workspace.path
    except StageBrokenError:
        if not StageFolder(session.folder / "stage").path.exists():
            raise
        workspace = ""
        with suppress(NoFactsError):
            workspace = read_meta(session.folder).workspace or ""
    note_discarded(session.folder, state, workspace=workspace, why="a person discarded it")
    discard(session.folder, unfinished=count is None)
    return count


def note_discarded(folder: Path, state: Path, *, workspace: str, why: str) -> None:
    """Write down that a person throws away what a session left, before it is: the session cannot go on."""
    with HostLog(state, writer=pairlock_version()) as log:
        log.append(StageDiscarded(session=folder.name, workspace=workspace, by=who(), why=why))
