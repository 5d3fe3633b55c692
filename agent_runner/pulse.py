"""Notice that this process was stopped: a guest without word from it ends itself, and somebody asks why."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from agent_runner.errors import RunnerError
from sandbox.launch import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BEAT_SECONDS: Final = 1.0
STOPPED_SECONDS: Final = LEASE_SECONDS - 2 * BEAT_SECONDS
"""A pause from which on a lost sandbox is laid to it: the guest heard the last beat up to one before."""


class RunnerStoppedError(RunnerError):
    """Raised when the sandbox ended itself, because this process was stopped for longer than its lease.

    Args:
        seconds: How long it was stopped.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"pairlock was stopped for {seconds:.0f} s, and a sandbox that nobody watches ends itself",
            hint="`pairlock resume` goes on with what it had written",
        )
        self.seconds = seconds


class Pulse:
    """Measure the longest pause between two beats of this process's loop.

    Args:
        monotonic: A clock in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last = monotonic()
        self._longest = 0.0

    @property
    def stopped_seconds(self) -> float:
        """Return the longest time for which the loop stood still."""
        return max(self._longest, self._monotonic() - self._last - BEAT_SECONDS)

    def beat(self) -> None:
        """Note that the loop runs."""
        self._longest, self._last = self.stopped_seconds, self._monotonic()

    def require_unbroken(self) -> None:
        """Return if the loop never stood still for long.

        Raises:
            RunnerStoppedError: When it did.
        """
        if self.stopped_seconds >= STOPPED_SECONDS:
            raise RunnerStoppedError(self.stopped_seconds)


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[Pulse]:
    """Yield a pulse that is measured for as long as the block lasts."""
    pulse = Pulse()
    task = asyncio.ensure_future(_beat(pulse))
    try:
        yield pulse
    finally:
        task.cancel()


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(BEAT_SECONDS)
