"""Tell a cancellation that others want from one that a backend's code raises by itself, and end tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

LET_GO_SECONDS: Final = 5.0
"""How long a task that was cancelled may take to end before it is left to itself."""


def is_cancelled() -> bool:
    """Say whether somebody cancels this task, whatever has become of the exception that told it so."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end, 5 s at the most, also where this is cancelled meanwhile."""
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else may come for it
    loop = asyncio.get_running_loop()
    until = loop.time() + LET_GO_SECONDS
    while not task.done() and loop.time() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task], timeout=until - loop.time())
