"""Follow a session's ledger while its runner writes it, to its end; every entry is verified first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.awake import Awake
from audit.follow import Follower
from audit.lock import is_held
from audit.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from audit.chain import Entry
    from audit.reader import BrokenEntry

POLL_SECONDS: Final = 0.2


def follow_session(
    state: Path,
    session: str,
    *,
    wait: Callable[[float], object] | None = None,
    caught_up: Callable[[], object] | None = None,
) -> Iterator[Entry | BrokenEntry]:
    """Yield every entry, from the first one on, until nobody writes any more; then, what is missing.

    Args:
        state: The state folder.
        session: The whole id.
        wait: Called with the seconds until it looks again; None to be woken by its runner meanwhile.
        caught_up: Called before each wait, when all that there is was yielded.

    Raises:
        audit.errors.UnknownSessionError: When the session has no log.
    """
    follower = Follower(state, session)
    number = 0
    with Awake(session) as awake:
        while True:
            # Asked first: what follows is its last.
            is_running = is_held(StateFiles(state).session(session).lock)
            for entry in follower.news() if is_running else follower.at_the_end():
                number = entry.seq + 1
                yield entry
            if not is_running:
                return
            if caught_up is not None:
                caught_up()
            if wait is None:
                awake.wait(POLL_SECONDS, first=number)
            else:
                wait(POLL_SECONDS)
