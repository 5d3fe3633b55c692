"""A reply that ended at a length is told as one, in each API's word."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.aloud import TextTold
from agent_runner.backends.backend import Call, Reply
from agent_runner.gateway.crossing import reply_bytes, reply_of
from agent_runner.gateway.desk import Desk
from agent_runner.gateway.http import HttpRequest
from cli_tools.action import ToolProposal
from tests.agent_runner.gateway.test_book import Ledger, asked
from tests.agent_runner.stand import Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent_runner.backends.aloud import Step
    from agent_runner.gateway.asked import Asked

QUESTION = {"model": "main", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
CUT: dict[str, tuple[dict[str, Any], str, str]] = {
    "/v1/chat/completions": (QUESTION, '"finish_reason": "length"', '"finish_reason": "stop"'),
    "/v1/messages": (QUESTION, '"stop_reason": "max_tokens"', '"stop_reason": "end_turn"'),
    "/v1/responses": (
        {"model": "main", "input": "x"},
        '"status": "incomplete", "model"',
        '"status": "completed", "model"',
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", CUT)
@pytest.mark.parametrize("stop", ["length", "max_tokens", "stop", "end_turn"])
async def test_a_reply_that_was_cut_at_a_length_is_said_to_be(path: str, stop: str, *, stream: bool) -> None:
    """Else an agent takes half a file for the whole; it crosses from the runner as one bit."""
    body, cut, whole = CUT[path]

    class Cut:
        """Say half of it; `desk.Asker`."""

        async def ask(self, _: Asked, hear: Callable[[Step], None]) -> Reply:
            hear(TextTold(text="and so"))
            return reply_of(reply_bytes(Reply(text="and so", stop=stop)))

    answer = await Desk(("main",), Cut()).answer(
        HttpRequest(
            method="POST", target=path, headers={}, body=json.dumps({**body, "stream": stream}).encode()
        )
    )
    raw = answer.body if isinstance(answer.body, bytes) else b"".join([each async for each in answer.body])

    was_cut = stop in {"length", "max_tokens"}
    assert (cut in raw.decode(), whole in raw.decode()) == (was_cut, not was_cut)


@pytest.mark.parametrize("stop", ["length", "stop"])
@pytest.mark.parametrize(
    ("text", "calls", "ended"),
    [("one END two", (), True), ("one two", (), False), ("one END two", ("c",), False)],
)
async def test_a_reply_that_the_agents_own_stop_ends_was_cut_at_no_length(
    tmp_path: Path, text: str, calls: tuple[str, ...], stop: str, *, ended: bool
) -> None:
    """What a server's length cut off stood behind it; of a call behind it half may be missing."""
    made = tuple(Call(call_id=each, proposal=ToolProposal(tool="t", arguments="{}")) for each in calls)
    model = Model(lambda _, __: Reply(text=text, calls=made, stop=stop))
    ledger = Ledger(tmp_path)
    async with ledger.journal:
        reply = await ledger.book.ask(model, replace(asked(), stops=("END",)))

    assert reply.stop == ("" if ended else stop)
    assert [entry["stop"] for entry in ledger.entries("model.answered")] == [stop]
