"""Remove containers that were created and never started, because their runner died in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.errors import UnknownSessionError
from audit.lock import is_held
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.engine import Engine


async def sweep_created(engine: Engine, state: Path, *, label: str) -> tuple[str, ...]:
    """Remove them, and return the sessions that they were made for.

    A container that was started ends by itself with the link; one that never was has no guest to notice.

    Args:
        engine: Where.
        state: The state folder; a runner that lives holds the lock of its session in it.
        label: The state folder's label, by which its containers are known.
    """
    removed: list[str] = []
    for found in await engine.owned(state=label):
        if found.state == "created" and _is_dead(state, found.session):
            await engine.remove(found.container_id)
            removed.append(found.session)
    return tuple(removed)


def _is_dead(state: Path, session: str) -> bool:
    try:
        return not is_held(StateFiles(state).session(session).lock)
    except UnknownSessionError:  # no name of a session: the battery's, which looks after its own
        return False
