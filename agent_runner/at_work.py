"""Keep what changes a session away from one whose runner is at work, and runners from what is changed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError
from audit.errors import LedgerLockedError
from audit.lock import WriterLock, is_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.state import SessionFiles


def refuse_running(session: SessionFiles) -> None:
    """Refuse a session whose runner is at work.

    Raises:
        InvalidInputError: When its ledger has a writer.
    """
    if is_held(session.lock):
        raise _running(session)


@contextmanager
def runners_kept_out(session: SessionFiles) -> Iterator[None]:
    """Hold a session's lock in a runner's place, so that none goes on with it meanwhile; not twice at once.

    Raises:
        InvalidInputError: When a runner, or another review, holds it.
        audit.errors.LedgerError: When the lock cannot be opened.
    """
    try:
        lock = WriterLock(session.lock)
    except LedgerLockedError as error:
        raise _running(session) from error
    try:
        yield
    finally:
        lock.release()


def _running(session: SessionFiles) -> InvalidInputError:
    return InvalidInputError(
        f"session `{session.folder.name}` is running",
        hint=f"wait for its end, or `pairlock stop {session.folder.name}`",
    )
