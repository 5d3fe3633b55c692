"""Keep the steps of a reply until its agent takes them; few and long where it is slow."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.backends.aloud import ArgumentsTold, TextTold

if TYPE_CHECKING:
    from agent_runner.backends.aloud import Step

_JOINED_CHARACTERS: Final = 4096


class Inbox:
    """The steps of one reply that were not told yet."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._event = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Say whether nothing waits."""
        return not self._steps

    def put(self, step: Step) -> None:
        """Take a step; it is joined with the last one where both are more of the same."""
        last = self._steps[-1] if self._steps else None
        if (
            isinstance(step, TextTold | ArgumentsTold)
            and isinstance(last, TextTold | ArgumentsTold)
            and type(last) is type(step)
            and len(last.text) < _JOINED_CHARACTERS
        ):
            self._steps[-1] = replace(last, text=last.text + step.text)
        else:
            self._steps.append(step)
        self._event.set()

    def wake(self) -> None:
        """Let whoever waits look."""
        self._event.set()

    async def filled(self, seconds: float) -> bool:
        """Return whether something came, or `wake` was called, within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        return True

    def taken(self) -> list[Step]:
        """Return what waits; it waits no longer."""
        steps, self._steps = self._steps, []
        self._event.clear()
        return steps
