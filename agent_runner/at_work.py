"""Keep what changes a session away from one whose runner is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError
from audit.lock import is_held

if TYPE_CHECKING:
    from audit.state import SessionFiles


def refuse_running(session: SessionFiles) -> None:
    """Refuse a session whose runner is at work.

    Raises:
        InvalidInputError: When its ledger has a writer.
    """
    if is_held(session.lock):
        raise InvalidInputError(
            f"session `{session.folder.name}` is running",
            hint=f"wait for its end, or `pairlock stop {session.folder.name}`",
        )
