"""The floor of a turn's benchmark counts the durable writes that a turn makes: no fewer, and no more."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.bench.turns import POLICY, WRITES_A_TURN
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    import pytest

    from tests.agent_runner.stand import Stand

TURNS = 20


async def test_a_turn_with_one_action_makes_as_many_durable_writes_as_its_floor(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four entries, and what two of them commit to; a session's start, end and seals have their own."""
    (stand.folder / "f").write_text("x")
    synced: Counter[str] = Counter()
    fdatasync = os.fdatasync

    def counted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced[path.name] += path.parent.name == SESSION
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    turns = [lines("files stat f")] * TURNS
    await stand.run(saying(*turns, FINISH), POLICY, may_repeat=True)

    made = synced["events.jsonl"] + synced["openings.jsonl"]
    assert WRITES_A_TURN * TURNS <= made <= WRITES_A_TURN * (TURNS + 4)
