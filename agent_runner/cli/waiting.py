"""Say on stderr every few seconds that something long is still going on."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EVERY_SECONDS: Final = 15.0


@asynccontextmanager
async def told_to_wait(*, every_seconds: float = EVERY_SECONDS) -> AsyncIterator[None]:
    """Tell for as long as the block lasts.

    Args:
        every_seconds: Between two lines.
    """

    async def tell() -> None:
        start = time.monotonic()
        while True:
            await asyncio.sleep(every_seconds)
            say(f"  still at it after {time.monotonic() - start:.0f} s")

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
