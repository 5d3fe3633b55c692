"""Tell whether a session's changes still wait for a person; in doubt they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.stage.changes import compute_changes
from sandbox.stage.errors import StageError
from sandbox.stage.layout import StageFolder
from sandbox.stage.opened import open_stage
from sandbox.stage.upper import read_upper

if TYPE_CHECKING:
    from pathlib import Path


def changes_wait(session_folder: Path) -> bool:
    """Tell whether a stage holds changes that nobody applied or discarded; for `ps` and `clean`.

    An unfinished apply counts, and so does a stage that cannot be read or whose workspace is gone: what
    cannot be looked at was not reviewed.

    Args:
        session_folder: The session's folder in the state folder.
    """
    folder = StageFolder(session_folder.resolve() / "stage")
    if not folder.path.exists():
        return False
    if folder.journal.exists():
        return True
    try:
        upper = read_upper(folder)
        if not upper.entries and not upper.deleted:
            return False
        with open_stage(session_folder) as stage:
            found = compute_changes(stage)
    except (StageError, OSError):
        return True
    return bool(found.changes or found.troubles)
