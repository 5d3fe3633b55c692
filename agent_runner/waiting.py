"""Count the changes of a session that nobody has reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.errors import RunnerError
from agent_runner.review import opened
from audit.state import StateFiles
from sandbox.stage.errors import StageError

if TYPE_CHECKING:
    from pathlib import Path


def changes_waiting(state: Path, session: str) -> int:
    """Return how many changes a session's stage holds; 0 when it has none, or no stage."""
    folder = StateFiles(state).session(session).folder
    if not (folder / "stage").is_dir():
        return 0
    try:
        with opened(folder) as (_, changes):
            return len(changes.changes)
    except (StageError, RunnerError):
        return 0
