"""Tell a cancellation that others want from one that a backend's code raises of its own accord."""

from __future__ import annotations

import asyncio


def is_cancelled() -> bool:
    """Say whether somebody cancels this task, whatever has become of the exception that told it so."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
