"""A question costs what writing its conversation costs, however long that has grown."""

from __future__ import annotations

import json
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import Call, ModelMessage, ObservationMessage, Reply, UserMessage
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.server import Server
from agent_runner.backends.wired import Wired
from cli_tools.action import ToolProposal
from tests.contract.model_server import Saying, serving

if TYPE_CHECKING:
    from agent_runner.backends.backend import Message
    from tests.contract.model_server import Dialect

MOST_TIMES = 15.0
"""Measured: 3 to 5 for either API; 66 for chat completions where the SDK looks at each member."""


def conversation(messages: int) -> list[Message]:
    """Return a task, and calls with their answers."""
    talk: list[Message] = [UserMessage(text="t")]
    for number in range(messages // 2):
        proposal = ToolProposal(tool="files_read", arguments='{"path": "src/app.py", "lines": "1-40"}')
        talk.append(
            ModelMessage(reply=Reply(text="looking", calls=(Call(call_id=f"c{number}", proposal=proposal),)))
        )
        talk.append(ObservationMessage(call_id=f"c{number}", text="x" * 600, refused=False))
    return talk


@pytest.mark.parametrize("api", ["chat", "messages"])
async def test_a_question_of_a_thousand_messages_costs_few_times_its_writing(api: Dialect) -> None:
    """CPU time, with that of the server beside it; over that of a short question, beside `json` alone."""
    talk = conversation(1000)
    made: type[OpenAIBackend | AnthropicBackend] = OpenAIBackend if api == "chat" else AnthropicBackend
    long: list[float] = []
    short: list[float] = []
    async with serving(Saying().play(api)) as server:
        backend = made(Server(base_url=server.base_url(api), model="m"), name="x")
        await backend.ask(talk, ())
        for _ in range(5):
            for times, messages in ((long, talk), (short, talk[:3])):
                begun = time.process_time()
                await backend.ask(messages, ())
                times.append(time.process_time() - begun)
        await backend.close()
        body = server.asked[0].json
    begun = time.process_time()
    for _ in range(5):
        json.loads(json.dumps(body, ensure_ascii=False))
    written = (time.process_time() - begun) / 5

    assert len(body["messages"]) == 1001
    assert median(long) - median(short) <= MOST_TIMES * written


def test_a_message_is_translated_once_while_the_conversation_grows() -> None:
    translated: list[Message] = []

    def translate(message: Message) -> int:
        translated.append(message)
        return len(translated)

    wired, talk = Wired(translate), conversation(4)

    first, second = wired.of(talk[:3]), wired.of(talk)

    assert (first, second) == ([1, 2, 3], [1, 2, 3, 4, 5])
    assert translated == talk


def test_a_conversation_that_departs_is_translated_from_there_on() -> None:
    """After compaction, or for a question that is no session's: nothing of another conversation stays."""
    wired = Wired(lambda message: message)
    talk, other = conversation(4), conversation(4)
    other[0] = talk[0]

    wired.of(talk)

    assert all(given is asked for given, asked in zip(wired.of(other), other, strict=True))
    assert wired.of(other[:1]) == other[:1]
    assert wired.of([]) == []


def test_what_is_returned_is_the_callers_own_list() -> None:
    wired = Wired(lambda message: message)
    talk = conversation(2)

    wired.of(talk).clear()

    assert wired.of(talk) == talk
