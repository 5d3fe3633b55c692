"""Say to a model that goes on what happened between two runners. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent_runner.past import Past

RESUMED: Final = (
    "note: the session was interrupted and goes on in a fresh sandbox: the workspace is as it was left, the "
    "scratch folder is empty, and no program runs any more"
)
COPY_LOST: Final = (
    "note: the session was interrupted and goes on in a fresh sandbox: its workspace was a copy, and what "
    "you changed there since the last sandbox started is lost: look before you go on; the scratch folder is "
    "empty, and no program runs any more"
)
STAGE_LOST: Final = (
    "note: the session was interrupted and goes on in a fresh sandbox: what you changed in its workspace "
    "until now is lost: look before you go on; the scratch folder is empty, and no program runs any more"
)
UNFINISHED: Final = "note: go on with the task; when it is done, or cannot be done, call `finish`"


def note_of(past: Past) -> str:
    """Return what the model is told of the time between two runners."""
    if past.stage_lost:
        return STAGE_LOST
    if past.copy_lost:
        return COPY_LOST
    closed = past.closed
    stopped = closed is not None and closed.status == "done" and closed.unfinished
    return UNFINISHED if stopped else RESUMED
