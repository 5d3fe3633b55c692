"""Look at what a session changed, also while it runs; nothing is taken here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.review import files_block, opened
from audit.lock import is_held
from sandbox.stage import render_diff
from sandbox.stage.feeding import aside_for_git
from sandbox.stage.layout import StageFolder
from sandbox.stage.parcel import is_out
from sandbox.stage.steady import read_steadily

if TYPE_CHECKING:
    from audit.state import SessionFiles
    from sandbox.stage import Change, ChangeSet, Diff


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found."""

    changes: ChangeSet
    patch: Diff
    """Empty unless it was asked for."""
    caution: str
    """What a person should know of it, one line; empty when the session has ended, and nothing was lost."""


def look_at(session: SessionFiles, *, with_patch: bool, for_program: bool = False) -> Look:
    """Return what a session changed.

    Args:
        session: Whose changes.
        with_patch: Whether the content is wanted too.
        for_program: Whether a program is to have the patch, which then applies nothing that `apply` refuses.

    Raises:
        sandbox.stage.errors.StageError: When there is no stage, or the workspace is gone.
    """
    folder = StageFolder(session.folder.resolve() / "stage")

    def read() -> tuple[ChangeSet, Diff]:
        with opened(session.folder) as (stage, changes):
            wanted = changes.changes if with_patch else ()
            return changes, render_diff(stage, wanted, aside=aside_for_git if for_program else _nothing_aside)

    if not is_held(session.lock):
        changes, patch = read()
        return Look(changes=changes, patch=patch, caution=lost_copy(session))
    (changes, patch), steady = read_steadily(folder, read)
    return Look(
        changes=changes, patch=patch, caution=_caution(session.folder.name, steady=steady, out=is_out(folder))
    )


def lost_copy(session: SessionFiles) -> str:
    """Return what a person should know of an ended session whose copy never came back; empty for all others.

    What was only read comes back never, and nothing of it is lost.
    """
    writable = files_block(session.folder).access == "stage"
    if not (writable and is_out(StageFolder(session.folder.resolve() / "stage"))):
        return ""
    name = session.folder.name
    return f"session {name} ended before its copy came back: what it changed there since is lost"


def _nothing_aside(_: Change) -> str:
    return ""


def _caution(name: str, *, steady: bool, out: bool) -> str:
    if out:
        return f"session {name} is running on a copy: what it changes there shows when it has ended"
    if steady:
        return f"session {name} is running: these are its changes at this moment"
    return f"session {name} is running, and wrote while this was read: what is shown may be half-written"
