"""`pairlock bench` measures turns in a real container: parts of one turn, and what they leave of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_runner.bench.turns import turn_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_turns_writes_and_its_action_are_parts_of_it(new_state: Callable[[], Path], tmp_path: Path) -> None:
    """Three writes, as the floor makes; over them, the action inside; nothing is measured twice."""
    rows = asyncio.run(turn_rows(tmp_path, new_state(), lambda *_, **__: None))

    turn, writes, over, inside, processor = rows
    assert [row.name.strip() for row in rows] == [
        "a turn with one action",
        "its 3 durable writes",
        "over these",
        "of it the action inside",
        "processor time",
    ]
    assert turn.floor == writes.floor
    assert 0 < inside.ours < over.ours < turn.ours
    assert 0 < writes.ours < turn.ours
    assert processor.ours > 0
    assert (over.most, over.holds) == (2.0, over.ours <= 2.0)
