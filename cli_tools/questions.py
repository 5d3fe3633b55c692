"""Put the questions of programs to a person: one at a time, and none once too many were refused or withdrawn.

A program can ask as often as it likes and withdraw each question by ending, so that another one stands where
the person was about to answer, or until the person no longer reads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from policies.request import Allowed, Denied, NeedsApproval, Reason

if TYPE_CHECKING:
    from cli_tools.action import Action
    from cli_tools.gate import Approver

MOST_REFUSED: Final = 20
"""Questions of programs that were denied, not answered in time, or withdrawn, in one life of a runner."""


class ProgramQuestions:
    """Ask about actions of programs; an approver before the approver.

    Args:
        approver: Asks.
    """

    def __init__(self, approver: Approver) -> None:
        self._approver = approver
        self._turn = asyncio.Lock()
        self._refused = 0

    async def approve(self, number: str, action: Action, question: NeedsApproval) -> Allowed | Denied:
        """Return what the person said; no, without asking, once too many were refused."""
        async with self._turn:
            if self._refused >= MOST_REFUSED:
                why = f"not approved: {MOST_REFUSED} questions of programs were refused or withdrawn already"
                return Denied((Reason(question.reasons[0].code, why),))
            self._refused += 1  # unless it is allowed
            answer = await self._approver.approve(number, action, question)
            if isinstance(answer, Allowed):
                self._refused -= 1
            return answer
