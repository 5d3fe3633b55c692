"""A session of 1,000 turns has flat memory and constant time for each turn."""

from __future__ import annotations

import gc
import time
import tracemalloc
from statistics import median
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import Reply, Usage
from tests.agent_runner.stand import FINISH, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message
    from cli_tools.schema import Tool
    from tests.agent_runner.stand import Stand

TURNS = 1000
POLICY = (
    'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n'
    "budget: {turns: 2000, wall_time: 6h, tokens: 100M}\n"
)
LONG = 40_000
"""Short enough to be shortened often in 1,000 turns of some 500 characters."""


class Counting:
    """A model that looks at a file each turn, and notes time and memory without keeping what it hears."""

    kind = "test"
    model = "test"

    def __init__(self) -> None:
        self.cpu_seconds: list[float] = []
        self.memory_bytes: list[int] = []
        self.most_messages = 0
        self._before = 0.0

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - the protocol's parameters
        """Return a call, or the end."""
        now = time.process_time()
        if self._before:
            self.cpu_seconds.append(now - self._before)
        self.most_messages = max(self.most_messages, len(messages))
        turn = len(self.cpu_seconds)
        if turn % 50 == 0:
            gc.collect()
            self.memory_bytes.append(tracemalloc.get_traced_memory()[0])
        reply = lines(f"files read big --lines {turn % 9 + 1}-40", text="looking") if turn < TURNS else FINISH
        self._before = time.process_time()
        return Reply(text=reply.text, calls=reply.calls, usage=Usage(input_tokens=10))

    async def close(self) -> None:
        """Do nothing."""


@pytest.mark.long
async def test_a_thousand_turns_have_flat_memory_and_constant_time(stand: Stand) -> None:
    """The last 200 turns cost at most 1.5 times the CPU time of turns 100 to 300; memory grows by < 4 MiB."""
    (stand.folder / "big").write_text("".join(f"{n} line of a file\n" for n in range(60)))
    model = Counting()
    stand.eyes.saw = lambda _: None  # type: ignore[method-assign]  # it keeps everything it sees
    tracemalloc.start()
    try:
        result = await stand.run(model, POLICY, long_characters=LONG)
    finally:
        tracemalloc.stop()

    early, late = median(model.cpu_seconds[100:300]), median(model.cpu_seconds[-200:])
    assert (result.status, result.totals.turns) == ("done", TURNS + 1)
    assert late <= 1.5 * early, f"{early * 1000:.2f} ms, then {late * 1000:.2f} ms"
    assert model.memory_bytes[-1] - model.memory_bytes[4] < 4 * 1024 * 1024, model.memory_bytes
    assert model.most_messages < 400
    assert len(stand.entries("transcript.compacted")) > 10
