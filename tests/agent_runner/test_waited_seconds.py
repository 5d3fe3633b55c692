"""How long a session has waited for people, where several questions are open at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from agent_runner.approvals import Answer, RecordedApprover
from policies.request import NeedsApproval, Reason

if TYPE_CHECKING:
    from agent_runner.question import Question


class Clock:
    """Seconds, as a test sets them."""

    seconds = 0.0

    def __call__(self) -> float:
        """Return them."""
        return self.seconds


class Forgetting:
    """A journal that keeps nothing."""

    async def record(self, _: object) -> None:
        """Keep nothing."""


@dataclass
class Said:
    """An action, as far as a question shows it."""

    argv: tuple[str, ...] = ("http", "get", "https://a.example/")
    body: bytes | None = None


async def test_questions_that_are_open_at_once_are_waited_for_once() -> None:
    clock, answered = Clock(), asyncio.Event()

    class Slow:
        async def ask(self, _: Question) -> Answer:
            await answered.wait()
            return Answer(verdict="approved", by="x", via="terminal")

    approver = RecordedApprover(
        cast("Any", Forgetting()), cast("Any", None), "0123456789ab", Slow(), monotonic=clock
    )
    question = NeedsApproval((Reason("command", "x"),))
    asked = [
        asyncio.create_task(approver.approve(f"0123456789ab/{n}", cast("Any", Said()), question))
        for n in range(3)
    ]
    await asyncio.sleep(0.01)
    clock.seconds = 10.0
    answered.set()
    await asyncio.gather(*asked)

    assert approver.waited_seconds == 10.0
