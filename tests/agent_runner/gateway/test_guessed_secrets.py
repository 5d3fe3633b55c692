"""What an agent guesses of a secret is shown to no model, and counts: nothing says for free what is right."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import Call, ModelMessage, ObservationMessage, Reply, UserMessage
from agent_runner.backends.choice import Choice
from agent_runner.backends.reply_format import ReplyFormat
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool
from tests.agent_runner.gateway.test_book import SECRET, Ledger, asked
from tests.agent_runner.stand import Model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message
    from agent_runner.gateway.asked import Asked


def secret_in(place: str, secret: str) -> Asked:
    """Return a question that holds a secret at one place of its tools, its format or its calls."""
    number = int(secret) if secret.isdigit() else 0
    schemas: dict[str, dict[str, object]] = {
        "number": {"properties": {"a": {"maximum": number}}},
        "part of a number": {"enum": [[number * 100, float(number)]]},
        "key": {"properties": {secret: {"type": "string"}}},
        "text": {"title": f"a {secret} b"},
        "several values": {"a": 1, "b": "two"},
    }
    if place in schemas:
        tool = Tool(name="read", description="", parameters=schemas[place])
        return replace(asked(tools=(tool,)), form=ReplyFormat(described=tool))
    tool = Tool(name=f"read-{secret}", description="", parameters={"type": "object"})
    if place == "name":
        return replace(asked(tools=(tool,)), choice=Choice(tool=tool.name))
    call = Call(call_id=f"c{secret}", proposal=ToolProposal(tool=tool.name, arguments="{}"))
    came = ObservationMessage(call_id=call.call_id, text="x", refused=False)
    return asked(UserMessage(text="x"), ModelMessage(reply=Reply(text="", calls=(call,))), came)


@pytest.mark.parametrize(
    ("place", "secret"),
    [
        ("number", "4711471147"),
        ("part of a number", "4711471147"),
        ("key", SECRET),
        ("text", "4711471147"),
        ("several values", '{"a": 1, "b": "two"}'),
        ("name", "4711471147"),
        ("call", SECRET),
    ],
)
async def test_a_secret_that_an_agent_guesses_anywhere_is_shown_to_nobody_and_counts(
    tmp_path: Path, place: str, secret: str
) -> None:
    """What fails before it is written down, or is read by the model, says whether a guess is right."""
    asked_of: list[object] = []

    class Wishing(Model):
        def formatting(self, form: ReplyFormat) -> Model:
            asked_of.append(form)
            return self

        def choosing(self, choice: Choice) -> Model:
            asked_of.append(choice)
            return self

        async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
            asked_of.extend([*messages, *tools])
            return Reply(text="ok")

    ledger = Ledger(tmp_path, secret=secret)
    async with ledger.journal:
        await ledger.book.ask(Wishing(lambda _, __: Reply(text="ok")), secret_in(place, secret))

    assert secret not in repr(asked_of)
    assert secret not in json.dumps([e.parameters for e in asked_of if isinstance(e, Tool)])
    assert secret not in ledger.openings()
    assert ledger.budget.turns == len(ledger.entries("model.asked")) == 1
    names = {each.name for each in asked_of if isinstance(each, Tool)}
    assert {each.tool for each in asked_of if isinstance(each, Choice)} <= names
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)


async def test_a_number_that_is_no_secret_stays_one(tmp_path: Path) -> None:
    heard: list[Tool] = []

    class Hearing(Model):
        async def ask(self, _: object, tools: Sequence[Tool]) -> Reply:
            heard.extend(tools)
            return Reply(text="ok")

    tool = Tool(name="read", description="", parameters={"a": [1, -2.5, True, None, {"b": 471147114}]})
    ledger = Ledger(tmp_path, secret="4711471147")  # noqa: S106 - no real one
    async with ledger.journal:
        await ledger.book.ask(Hearing(lambda _, __: Reply(text="ok")), asked(tools=(tool,)))

    assert heard == [tool]
