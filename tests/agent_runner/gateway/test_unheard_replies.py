"""A question without a whole answer is counted: hanging up and failing are no ways around a budget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import openai
import pytest

from tests.agent_runner.gateway.streaming import (
    ERRORS,
    SAYING,
    TALK,
    Paused,
    chat,
    chat_client,
    gateway,
)
from tests.agent_runner.gateway.test_book import Ledger
from tests.contract.asking import backend_for
from tests.contract.model_server import data, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.model_server import Asked, Line, ModelServer


async def hung_up(server: ModelServer, origin: str) -> None:
    stream = chat(origin)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
    await server.gone(0)


async def test_hanging_up_in_mid_stream_frees_the_server_and_is_counted_with_what_was_told(
    tmp_path: Path,
) -> None:
    """Otherwise an agent would read each reply but its end, and pay for none."""
    paused, ledger = Paused(), Ledger(tmp_path)
    async with (
        serving(paused.play("chat", until="today")) as server,
        gateway(backend_for(server, "chat"), ledger) as origin,
    ):
        await hung_up(server, origin)
        while not ledger.budget.turns:  # noqa: ASYNC110 - the parser's process tells it when it may
            await asyncio.sleep(0.01)

    assert ledger.budget.output_tokens == -(-len(SAYING.text) // 4)
    assert [entry["error"] for entry in ledger.entries("model.failed")] == [
        "the agent hung up before the answer"
    ]
    assert SAYING.text in ledger.openings()


THOUGHT: Final = "First I have to think about where Basel is. " * 9
SPOKEN: Final = [{"reasoning_content": THOUGHT}, {"content": "It is sunny."}]


def deltas(*parts: dict[str, str]) -> list[str]:
    return [data({"choices": [{"index": 0, "delta": part}]}) for part in parts]


async def paused_in_mid_reply(line: Line, _: Asked) -> None:
    await line.head(200, {"content-type": "text/event-stream"})
    await line.send("".join(deltas(*SPOKEN)))
    await asyncio.Event().wait()


@pytest.mark.parametrize("stops", [{}, {"stop": ["is"]}], ids=["no stop", "behind a stop"])
async def test_hanging_up_is_counted_with_what_the_model_thought_and_said_to_nobody(
    stops: dict[str, list[str]], tmp_path: Path
) -> None:
    """Reasoning costs what text costs, and a stop of one letter would make everything behind it free."""
    ledger = Ledger(tmp_path)
    async with (
        serving(paused_in_mid_reply) as server,
        gateway(backend_for(server, "chat"), ledger) as origin,
    ):
        stream = chat(origin, **stops)
        _, seen = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
        while not ledger.budget.turns:  # noqa: ASYNC110 - the parser's process tells it when it may
            await asyncio.sleep(0.01)

    whole = len(THOUGHT) + len("It is sunny.")
    assert seen == ("It " if stops else "It is sunny.")
    assert ledger.budget.output_tokens == -(-whole // 4)


async def test_a_reply_that_nobody_hears_in_part_is_counted_and_its_question_put_anew(tmp_path: Path) -> None:
    """Without a stream nothing was told, so another attempt is lawful; all that was said costs."""

    async def breaking(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send("".join([*deltas(*SPOKEN), ERRORS["chat"]]))

    ledger = Ledger(tmp_path)
    async with (
        serving(breaking) as server,
        gateway(backend_for(server, "chat", attempts=2), ledger) as origin,
        chat_client(origin) as client,
    ):
        with pytest.raises(openai.APIStatusError, match="the worker died"):
            await client.chat.completions.create(model="main", messages=TALK)

    assert len(server.asked) == 2
    assert ledger.budget.output_tokens == -(-2 * (len(THOUGHT) + len("It is sunny.")) // 4)
