"""Count how often a model makes the same calls in a row, whatever is left of them in the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_runner.backends.backend import Call
    from cli_tools.action import Proposal


class Repeating:
    """Remember the calls of the last reply."""

    def __init__(self) -> None:
        self._last: list[Proposal] = []
        self.times = 0
        """How often they were made in a row; 0 when there were none."""

    def take(self, calls: tuple[Call, ...]) -> None:
        """Take those of the next reply; what they are called by does not count."""
        made = [call.proposal for call in calls]
        self.times = self.times + 1 if made and made == self._last else min(1, len(made))
        self._last = made

    def forget(self) -> None:
        """Begin anew: nobody knows what came of the last ones, so making them again is no repetition."""
        self._last, self.times = [], 0
