"""Count the changes of a session that nobody has reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.errors import RunnerError
from agent_runner.review import opened
from audit.escape import escape_line
from audit.state import StateFiles
from policies.errors import PolicyError
from sandbox.stage.errors import StageError
from sandbox.stage.layout import StageFolder

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Unread:
    """A stage that holds something and cannot be read, for example because its workspace was moved."""

    why: str
    """One line, escaped."""


def changes_waiting(state: Path, session: str) -> int:
    """Return how many changes a session's stage holds; 0 when it has none, or no stage that can be read."""
    found = waiting_in(StateFiles(state).session(session).folder)
    return found if isinstance(found, int) else 0


def waiting_in(folder: Path) -> int | Unread:
    """Return how many changes the stage in a session's folder holds, 0 for none.

    Args:
        folder: The session's folder.
    """
    if not (folder / "stage").is_dir():
        return 0
    try:
        with opened(folder) as (_, changes):
            return len(changes.changes)
    except (StageError, RunnerError, PolicyError, OSError, ValueError) as error:
        return (
            Unread(escape_line(str(error), width=200))
            if _holds_something(StageFolder(folder / "stage"))
            else 0
        )


def _holds_something(stage: StageFolder) -> bool:
    """Tell whether an agent wrote or deleted anything."""
    try:
        return stage.deleted.exists() or any(stage.upper.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True
