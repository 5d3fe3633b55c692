"""People who are asked for an approval."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.approvals import Answer

if TYPE_CHECKING:
    from agent_runner.question import Question


class SilentPerson:
    """Never answers in time."""

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Return that the time was over."""
        return Answer(verdict="timed_out", by="nobody", via="clock")


class DecidedPerson:
    """Says the same to every question, and remembers the questions."""

    def __init__(self, verdict: Literal["approved", "denied"]) -> None:
        self._verdict = verdict
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        """Return the answer."""
        self.asked.append(question)
        return Answer(verdict=self._verdict, by="somebody", via="terminal")


class SlowPerson:
    """Thinks before a yes."""

    MILLISECONDS: Final = 400

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Return the answer after a while."""
        await asyncio.sleep(self.MILLISECONDS / 1000)
        return Answer(verdict="approved", by="somebody", via="terminal")


class SleepingPerson:
    """Never answers, and is told when the question is withdrawn."""

    def __init__(self) -> None:
        self.withdrawn = False

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            self.withdrawn = True
        raise AssertionError("nobody wakes it")
