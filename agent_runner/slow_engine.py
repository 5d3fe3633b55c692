"""Say of an engine that has not answered that it is waited for."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.runtime.engine import Progress

SILENT_SECONDS: Final = 3.0
"""Far longer than an engine at work takes for an answer."""


@contextmanager
def told_where_slow(progress: Progress, *, after_seconds: float = SILENT_SECONDS) -> Iterator[None]:
    """Tell once, where the block, in which an engine is asked, lasts for some time.

    Args:
        progress: Who is told.
        after_seconds: How long nothing is said.
    """
    due = asyncio.get_running_loop().call_later(
        after_seconds,
        lambda: progress("waiting for the Docker engine, which has not answered", done=0, total=0),
    )
    try:
        yield
    finally:
        due.cancel()
