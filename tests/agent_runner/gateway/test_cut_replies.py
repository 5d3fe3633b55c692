"""A reply that ended at a length, or by a server's filter, is told as one, in each API's word."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.aloud import TextTold
from agent_runner.backends.backend import Call, Reply
from agent_runner.gateway.asked import Asked
from agent_runner.gateway.chat_api import ChatApi
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


QUESTION = {"model": "main", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
ENDS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "/v1/chat/completions": (
        QUESTION,
        {
            "whole": '"finish_reason": "stop"',
            "cut": '"finish_reason": "length"',
            "withheld": '"finish_reason": "content_filter"',
        },
    ),
    "/v1/messages": (
        QUESTION,
        {
            "whole": '"stop_reason": "end_turn"',
            "cut": '"stop_reason": "max_tokens"',
            "withheld": '"stop_reason": "refusal"',
        },
    ),
    "/v1/responses": (
        {"model": "main", "input": "x"},
        {
            "whole": '"status": "completed", "model"',
            "cut": '"incomplete_details": {"reason": "max_output_tokens"}',
            "withheld": '"incomplete_details": {"reason": "content_filter"}',
        },
    ),
}
STOPS = {
    "stop": "whole",
    "end_turn": "whole",
    "length": "cut",
    "max_tokens": "cut",
    "content_filter": "withheld",
    "refusal": "withheld",
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ENDS)
@pytest.mark.parametrize("stop", STOPS)
async def test_a_reply_that_was_cut_or_withheld_is_said_to_be(path: str, stop: str, *, stream: bool) -> None:
    """Else an agent takes half a file for the whole; it crosses from the runner as one of three words."""
    body, told = ENDS[path]

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

    assert [end for end, words in told.items() if words in raw.decode()] == [STOPS[stop]]


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


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("text", "calls", "reason", "sequence"),
    [
        ("one END two STOP", (), "stop_sequence", "END"),
        ("one two", (), "end_turn", None),
        ("one END two", ("c",), "tool_use", None),
    ],
)
async def test_the_stop_that_ended_a_reply_is_told_by_its_name(  # noqa: PLR0913 - a table's row
    tmp_path: Path, text: str, calls: tuple[str, ...], reason: str, sequence: str | None, *, stream: bool
) -> None:
    """Agents that mark the end of a step by a text ask which it was, as of Anthropic's own API."""
    made = tuple(Call(call_id=each, proposal=ToolProposal(tool="t", arguments="{}")) for each in calls)
    model = Model(lambda _, __: Reply(text=text, calls=made, stop="stop"))
    body = json.dumps({**QUESTION, "stop_sequences": ["STOP", "END"], "stream": stream}).encode()
    ledger = Ledger(tmp_path)

    class Asker:
        """Ask as the runner does; `desk.Asker`."""

        async def ask(self, asked: Asked, hear: Callable[[Step], None]) -> Reply:
            async def tell(step: Step) -> None:
                hear(step)

            reply = await ledger.book.ask(model, asked, tell if asked.stream else None)
            return reply_of(reply_bytes(reply))

    async with ledger.journal:
        answer = await Desk(("main",), Asker()).answer(
            HttpRequest(method="POST", target="/v1/messages", headers={}, body=body)
        )
        raw = (
            answer.body if isinstance(answer.body, bytes) else b"".join([each async for each in answer.body])
        )

    ends = f'"stop_reason": "{reason}", "stop_sequence": {json.dumps(sequence)}'
    assert ends in raw.decode()
    assert '"one "' in raw.decode() or sequence is None


@pytest.mark.parametrize(
    ("options", "counted"),
    [({}, False), ({"stream_options": {"include_usage": True}}, True), ({"stream_options": None}, False)],
)
async def test_a_chunk_without_a_choice_comes_to_those_only_that_asked_for_it(
    options: dict[str, Any], *, counted: bool
) -> None:
    """Many an agent reads `choices[0]` of each chunk, and ends with a traceback where there is none."""

    class Asker:
        """Say a word; `desk.Asker`."""

        async def ask(self, _: Asked, hear: Callable[[Step], None]) -> Reply:
            hear(TextTold(text="x"))
            return Reply(text="x")

    body = json.dumps({**QUESTION, **options, "stream": True}).encode()
    answer = await Desk(("main",), Asker()).answer(
        HttpRequest(method="POST", target="/v1/chat/completions", headers={}, body=body)
    )
    assert not isinstance(answer.body, bytes)
    *chunks, end = [each.decode().removeprefix("data: ") async for each in answer.body]

    assert end == "[DONE]\n\n"
    assert [bool(json.loads(chunk)["choices"]) for chunk in chunks] == [True] * 3 + [False] * counted


@pytest.mark.parametrize(("text", "content"), [("", ""), ("x", "x")])
async def test_a_whole_reply_without_calls_has_text_however_empty(text: str, content: str) -> None:
    """`content` is null beside calls only; agents strip it."""
    whole = ChatApi().whole(Asked(model="main", messages=()), Reply(text=text), "x")

    assert json.loads(json.dumps(whole))["choices"][0]["message"] == {
        "role": "assistant",
        "content": content,
        "refusal": None,
    }


async def test_a_page_of_models_is_asked_for_as_anthropics_sdk_does() -> None:
    """Its query asks for nothing that goes anywhere; any other path refuses one."""
    desk = Desk(("main",), None)  # type: ignore[arg-type]  # nobody is asked

    listed, posted = [
        await desk.answer(HttpRequest(method=method, target=target, headers={}, body=b"{}"))
        for method, target in (("GET", "/v1/models?limit=1000"), ("POST", "/v1/messages?limit=1"))
    ]

    assert (listed.status, posted.status) == (200, 400)
    assert b"capability" in bytes(posted.body)  # type: ignore[arg-type]  # an answer in one piece
