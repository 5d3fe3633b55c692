"""Walk a session's workspace while its engine is asked; what is done with either is the caller's."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from sandbox import stage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent_runner.housing import Order

T = TypeVar("T")
W = TypeVar("W")

FRESH_SECONDS: Final = 2.0
"""How long ago the walk of a workspace may have ended when its session starts."""


async def walked_beside(order: Order, asking: Coroutine[None, None, T]) -> tuple[T, stage.Scan | None]:
    """Ask the engine, and walk the workspace of a session that begins meanwhile.

    Args:
        order: What for; a resumed session's workspace is walked with its stage.
        asking: What is asked of the engine.

    Returns:
        What the engine said, and what the walk found; None where there was none, or it is too old.

    Raises:
        sandbox.stage.errors.StageError: When the workspace cannot be listed.
    """
    workspace, files = order.workspace, order.policy.files
    if workspace is None or files is None or order.resumed:
        return await asking, None
    root, hide, begun = workspace.path, stage.HiddenBy(files), time.monotonic()
    asked, scanned = await beside(asking, lambda ended: stage.scan(root, hide, ended=ended))
    return asked, scanned if still_fresh(scanned.seconds, time.monotonic() - begun) else None


def still_fresh(walk_seconds: float, elapsed_seconds: float) -> bool:
    """Tell whether a walk may still stand for the start: what the user changes after it is a conflict.

    Args:
        walk_seconds: How long it took.
        elapsed_seconds: How long ago it was begun; an image may have been built meanwhile.
    """
    return elapsed_seconds <= walk_seconds + FRESH_SECONDS


async def beside(asking: Coroutine[None, None, T], walk: Callable[[Callable[[], bool]], W]) -> tuple[T, W]:
    """Await one thing while a thread does another; when one of them fails, the other is ended too.

    Args:
        asking: What is awaited; its failure is told where both fail.
        walk: What the thread does; given a test whether it is to end, whose answer nobody waits for then.
    """
    ended = threading.Event()
    asked = asyncio.ensure_future(asking)
    walked = asyncio.ensure_future(asyncio.to_thread(walk, ended.is_set))
    try:
        await asyncio.wait((asked, walked), return_when=asyncio.FIRST_EXCEPTION)
        for one in (asked, walked):
            if one.done():
                one.result()
        return asked.result(), walked.result()
    finally:
        ended.set()
        asked.cancel()
        walked.cancel()
        await asyncio.gather(asked, walked, return_exceptions=True)
