"""A reply reaches the agent while the model still speaks, in each API's pieces; one that breaks is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import anthropic
import openai
import pytest

from agent_runner.backends.route import RouteBackend
from tests.agent_runner.gateway.streaming import (
    CALL,
    ENDS,
    ERRORS,
    FIRST,
    READERS,
    SAYING,
    TALK,
    Paused,
    chat,
    gateway,
    messages_client,
)
from tests.agent_runner.gateway.test_book import Ledger
from tests.contract.asking import backend_for
from tests.contract.model_server import data, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.contract.model_server import Asked, Dialect, Line


@pytest.mark.parametrize("api", READERS)
async def test_the_sdk_sees_the_first_piece_before_the_last_was_sent(
    api: str, dialect: Dialect, tmp_path: Path
) -> None:
    paused = Paused()
    seen: list[tuple[str, str]] = []
    async with (
        serving(paused.play(dialect, until="It")) as server,
        gateway(backend_for(server, dialect), ledger := Ledger(tmp_path)) as origin,
    ):
        async for kind, words in READERS[api](origin):
            if not seen:
                assert not paused.go_on.is_set()
                assert (kind, words) == ("text", FIRST[dialect])
                paused.go_on.set()
            seen.append((kind, words))

    assert "".join(words for kind, words in seen if kind == "text") == SAYING.text
    assert "".join(words for kind, words in seen if kind == "call") == CALL[2]
    assert seen[-1] == ("end", ENDS[api])
    answered = ledger.entries("model.answered")
    assert [(e["input_tokens"], e["output_tokens"]) for e in answered] == [(100, 7)]
    assert ledger.entries("model.failed") == []


@pytest.mark.parametrize("api", READERS)
async def test_a_calls_arguments_come_in_pieces_too(api: str, tmp_path: Path) -> None:
    paused = Paused()
    seen: list[tuple[str, str]] = []
    async with (
        serving(paused.play("chat", until='{\\"city')) as server,
        gateway(backend_for(server, "chat"), Ledger(tmp_path)) as origin,
    ):
        async for kind, words in READERS[api](origin):
            seen.append((kind, words))
            if words.startswith('{"ci'):
                assert not paused.go_on.is_set()
                paused.go_on.set()

    assert paused.go_on.is_set()
    assert "".join(words for kind, words in seen if kind == "call") == CALL[2]


RAISED: Final = {"chat": openai.APIError, "responses": LookupError, "messages": anthropic.APIStatusError}


async def read_on(
    pieces: AsyncIterator[tuple[str, str]], paused: Paused, seen: list[tuple[str, str]]
) -> None:
    async for piece in pieces:
        seen.append(piece)
        paused.go_on.set()


@pytest.mark.parametrize("api", READERS)
async def test_a_stream_that_breaks_is_told_as_the_apis_own_error_and_asked_once(
    api: str, dialect: Dialect, tmp_path: Path
) -> None:
    """What an agent has read cannot be taken back, so neither a retry nor another model begins anew."""
    paused = Paused(last=ERRORS[dialect])
    seen: list[tuple[str, str]] = []
    ledger = Ledger(tmp_path)
    async with serving(paused.play(dialect, until="It")) as server:
        backend = backend_for(server, dialect, attempts=3)
        route = RouteBackend({"one": backend, "two": backend}, name="both", notice=lambda _: None)
        async with gateway(route, ledger) as origin:
            with pytest.raises(RAISED[api], match="the worker died"):
                await read_on(READERS[api](origin), paused, seen)

    assert seen == [("text", FIRST[dialect])]
    assert len(server.asked) == 1
    assert ledger.budget.output_tokens > 0
    [failed] = ledger.entries("model.failed")
    assert "the worker died" in failed["error"]
    assert f"the agent was told:\\n{FIRST[dialect]}" in ledger.openings()


async def test_one_that_breaks_before_its_first_piece_is_asked_again(tmp_path: Path) -> None:
    """The twin: nothing was told, so the question is put anew, and nobody notices."""
    broken = data({"error": {"message": "the worker died", "code": 500}})

    async def dying(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send(broken)

    async with (
        serving(dying, SAYING.play("chat")) as server,
        gateway(backend_for(server, "chat", attempts=2), Ledger(tmp_path)) as origin,
    ):
        seen = [piece async for piece in chat(origin)]

    assert seen[-1] == ("end", "tool_calls")
    assert len(server.asked) == 2


async def test_a_stop_cuts_the_stream_where_it_cuts_the_whole(tmp_path: Path) -> None:
    async with (
        serving(SAYING.play("chat")) as server,
        gateway(backend_for(server, "chat"), Ledger(tmp_path)) as origin,
    ):
        seen = [words async for kind, words in chat(origin, stop=["y to", "never"]) if kind == "text"]

    assert "".join(seen) == "It is sunn"


async def test_interleaved_calls_reach_the_agent_in_order_and_whole(tmp_path: Path) -> None:
    """Chat completions may mix the pieces of parallel calls; messages and responses tell them one by one."""
    deltas = [
        {"index": 0, "id": "a", "function": {"name": "t", "arguments": '{"x"'}},
        {"index": 1, "id": "b", "function": {"name": "u", "arguments": '{"y"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "function": {"arguments": ": 2}"}},
    ]
    chunks = [data({"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]}) for each in deltas]
    end = data({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})

    async def play(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        for chunk in [*chunks, end]:
            await line.send(chunk)

    async with (
        serving(play) as server,
        gateway(backend_for(server, "chat"), Ledger(tmp_path)) as origin,
        messages_client(origin) as client,
        client.messages.stream(model="main", max_tokens=99, messages=TALK) as stream,
    ):
        final = await stream.get_final_message()

    assert [json.dumps(block.input) for block in final.content if block.type == "tool_use"] == [
        '{"x": 1}',
        '{"y": 2}',
    ]
