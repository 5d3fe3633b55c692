"""End a running session from outside: asked to first, so that it closes its ledger, and then killed."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.door import runner_of, tell
from agent_runner.errors import MuteRunnerError, RunnerError
from audit.lock import is_held
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

GRACE_SECONDS: Final = 20.0
"""How long a session has to close its ledger and remove its sandbox before its runner is killed."""
KILLED_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1


def stop_session(
    state: Path, session: str, *, grace_seconds: float = GRACE_SECONDS
) -> Literal["stopped", "killed"]:
    """End a running session; it can be resumed either way.

    One that does not end in time, or whose runner does not even answer, is killed with SIGKILL: its sandbox
    ends with its link, and what was under way is told to the model as unknown when it goes on.

    Args:
        state: The state folder.
        session: The whole id.
        grace_seconds: How long it may take to end by itself.

    Returns:
        Whether it ended by itself, or was killed.

    Raises:
        NoRunnerError: When no runner of it listens.
        RunnerError: When it does not end even so, or its process runs more than this session.
    """
    lock = StateFiles(state).session(session).lock
    with runner_of(session) as runner:
        alone = _asked_to_stop(session)
        if alone is not None and _released(lock, grace_seconds):
            return "stopped"
        if alone is False:
            raise RunnerError(
                f"session `{session}` has not ended within {grace_seconds:.0f} s, and its process runs more",
                hint="end the program that runs it",
            )
        with suppress(ProcessLookupError):  # it ended just now
            signal.pidfd_send_signal(runner, signal.SIGKILL)
    if not _released(lock, KILLED_SECONDS):
        raise RunnerError(f"session `{session}` still holds its ledger, and its runner was killed")
    return "killed"


def _asked_to_stop(session: str) -> bool | None:
    """Ask a runner to end its session; return whether it runs nothing else, None when it does not answer."""
    try:
        return tell(session, do="stop").get("alone") is True
    except MuteRunnerError:
        return None


def _released(lock: Path, seconds: float) -> bool:
    """Wait until nobody writes the ledger any more; tell whether that came in time."""
    deadline = time.monotonic() + seconds
    while is_held(lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
