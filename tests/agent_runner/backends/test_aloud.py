"""What of a reply is told while it comes: its calls in order, and looking at them costs little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.aloud import Aloud, CallTold
from agent_runner.backends.pieces import Pieces
from agent_runner.hearing import ARGUMENT_CHARACTERS

if TYPE_CHECKING:
    from agent_runner.backends.aloud import Spoken, Step
    from agent_runner.backends.pieces import PartialCall


class Speaking:
    """Let calls come one by one, and keep which of them are told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._pieces = Pieces()
        self._aloud = Aloud(set(), self._hear)

    async def _hear(self, step: Step | Spoken) -> None:
        if isinstance(step, CallTold):
            self.begun.append(step.call_id)

    async def call(self, call_id: str, arguments: str) -> PartialCall:
        """Begin a call."""
        call = self._pieces.new_call(call_id, "t")
        await self.more(call, arguments)
        return call

    async def more(self, call: PartialCall, arguments: str) -> None:
        """Let more of a call come."""
        self._pieces.add_arguments(call, arguments)
        await self._aloud.more(self._pieces)


def array(characters: int) -> str:
    """Return an array of about so many characters, without its end."""
    return "[" + "1," * (characters // 2)


@pytest.mark.parametrize(("characters", "told"), [(0.9, ["a", "b"]), (1.1, ["a"])])
async def test_a_call_is_told_when_the_one_before_is_whole_and_was_not_too_long_to_look_at(
    characters: float, told: list[str]
) -> None:
    speaking = Speaking()
    await speaking.call("a", array(int(ARGUMENT_CHARACTERS * characters)) + "1]")

    await speaking.call("b", "{}")

    assert speaking.begun == told


@pytest.mark.parametrize(("others", "told"), [(20, ["a", "1"]), (100, ["a"])])
async def test_a_hundred_calls_behind_one_that_does_not_end_are_not_a_hundred_looks_at_it(
    others: int, told: list[str]
) -> None:
    """A model's server could hold up the runner for seconds, and each of its sessions with it."""
    speaking = Speaking()
    first = await speaking.call("a", array(ARGUMENT_CHARACTERS // 50))
    for number in range(1, others):
        await speaking.call(str(number), "[")
    await speaking.more(first, "1]")

    await speaking.call("last", "[")

    assert speaking.begun == told
