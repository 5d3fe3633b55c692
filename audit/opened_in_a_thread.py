"""Open a journal in a thread, and leave nothing open where nobody waits for it any more."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from audit.answers import Bridge
from audit.begin import Opened, Plan, begin


async def opened_in_a_thread(state: Path, session_id: str, plan: Plan, bridge: Bridge) -> Opened:
    """Return what `begin` opens; cancelled meanwhile, close it again.

    The thread goes on, and nobody else would close what it opens: its session would seem to run for as long
    as this process does.

    Raises:
        LedgerError: As `begin`.
    """
    loop = asyncio.get_running_loop()
    # No task: a loop that ends cancels all of them, and a cancelled one tells nobody what its thread opened.
    opening = loop.run_in_executor(None, begin, state, session_id, plan, bridge)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await _done(opening)
        if opening.exception() is None:
            await _done(loop.run_in_executor(None, opening.result().close))
        raise


async def _done(work: asyncio.Future[Any]) -> None:
    """Return when work is done, however often the waiting is cancelled meanwhile."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work})
