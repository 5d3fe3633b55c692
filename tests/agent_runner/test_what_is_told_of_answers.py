"""What the ledger tells of a model's answer is what the server said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.agent_runner.stand import FINISH, Model, lines

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

POLICY = "version: 1\nname: x\ngrant: [files]\n"


async def test_why_a_model_stopped_and_its_first_token_are_written_as_the_server_said(stand: Stand) -> None:
    """Nothing is told where the server says nothing: no time is not a time of zero."""
    replies = [
        replace(lines("files list"), stop="length", first_token_seconds=0.2504),
        replace(lines("files list"), stop="", first_token_seconds=None),
        replace(FINISH, stop="end_turn", first_token_seconds=0.0),
    ]

    ended = await stand.run(Model(lambda _, turn: replies[turn - 1]), POLICY)

    assert ended.exit_code == 0
    told = [(entry["stop"], entry["first_token_ms"]) for entry in stand.entries("model.answered")]
    assert told == [("length", 250), ("", None), ("end_turn", 0)]
