"""Beat for the guest's lease, and notice when it answers no more. Time only; the link has the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sandbox.errors import GuestUnresponsiveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.errors import SandboxError

_OVERSLEPT_SECONDS: Final = 1.0


class Pulse:
    """The beats of one link.

    Args:
        beat: sends one.
        lost: is told that the guest has been silent for too long.
        beat_seconds: how often to beat.
        silence_seconds: how long the guest may leave beats unanswered.
    """

    def __init__(
        self,
        beat: Callable[[], None],
        lost: Callable[[SandboxError], None],
        *,
        beat_seconds: float,
        silence_seconds: float,
    ) -> None:
        self._beat = beat
        self._lost = lost
        self._beat_seconds = beat_seconds
        self._silence_seconds = silence_seconds
        self._clock = asyncio.get_running_loop().time
        self._last_answer = self._clock()

    def answered(self) -> None:
        """Take note of an answer."""
        self._last_answer = self._clock()

    async def run(self) -> None:
        """Beat until the guest is silent for too long; the link cancels it when it ends before."""
        while True:
            self._beat()
            before = self._clock()
            await asyncio.sleep(self._beat_seconds)
            overslept = self._clock() - before - self._beat_seconds
            if overslept > _OVERSLEPT_SECONDS:  # this process was stopped: the guest is not to blame
                self._last_answer += overslept
            silent = self._clock() - self._last_answer
            if silent > self._silence_seconds:
                self._lost(GuestUnresponsiveError(f"the guest has not answered for `{silent:.1f}` seconds"))
                return
