"""What an agent's questions cost and leave behind: each is counted, and every word is in the ledger once."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent_runner.backends.aloud import Spoken, TextTold
from agent_runner.backends.backend import (
    Call,
    ModelMessage,
    ObservationMessage,
    Reply,
    Tried,
    Usage,
    UserMessage,
)
from agent_runner.backends.choice import Choice
from agent_runner.backends.configuration import Price
from agent_runner.backends.failure import Failure, ModelServerError, status_error
from agent_runner.backends.media import Media
from agent_runner.budget import Budget
from agent_runner.budget_limits import BudgetLimits
from agent_runner.errors import BackendError
from agent_runner.gateway.asked import Asked, RefusedRequestError
from agent_runner.gateway.book import Book
from audit.journal import Journal, Registration
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool
from tests.agent_runner.stand import SESSION, Model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.backends.aloud import Step, Tell
    from agent_runner.backends.backend import Message
    from agent_runner.budget_state import BudgetExceeded

SECRET: Final = "sk-a-secret-of-the-tests-0123456789"  # noqa: S105 - no real one
LIMITS: Final = BudgetLimits(turns=3, tokens=1_000_000, wall_seconds=600.0, cost_micros=50)
TOOL: Final = Tool(name="read", description="d" * 400, parameters={"type": "object", "title": "t" * 400})


PICTURE: Final = Media("image/gif", b"GIF89a" + b"x" * 40)


def asked(*messages: Message, tools: tuple[Tool, ...] = ()) -> Asked:
    return Asked(model="main", messages=messages or (UserMessage(text="x"),), tools=tools)


class Ledger:
    """A journal in a folder, a budget, and the book."""

    def __init__(self, place: Path, *, limits: BudgetLimits = LIMITS, secret: str = SECRET) -> None:
        place.chmod(0o700)
        self.place = place
        self.journal = Journal.create(
            place,
            SESSION,
            registration=Registration(grant="exec", workspace=None, owner_uid=os.getuid()),
            secrets_by_name={"key": secret},
            writer="test",
            programs=True,
        )
        self.budget = Budget(limits)
        self.spent: list[BudgetExceeded] = []
        self.book = Book(self.journal, self.budget, spent=self.spent.append)

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of the entries of one type."""
        text = (self.place / "sessions" / SESSION / "events.jsonl").read_text()
        return [entry["body"] for entry in map(json.loads, text.splitlines()) if entry["type"] == kind]

    def openings(self) -> str:
        """Return what was kept beside the entries."""
        folder = self.place / "sessions" / SESSION
        return "".join(path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.is_file())


class Priced(Model):
    """A model whose operator named a price."""

    def priced(self, usage: Usage) -> Usage:
        """Return what the tokens cost."""
        return Price(input=1, output=1).priced(usage)


def failing(*, tried: tuple[Tried, ...] = ()) -> Model:
    def answer(_: Sequence[Message], __: int) -> Reply:
        error = BackendError("no reply")
        error.tried = tried
        raise error

    return Priced(answer)


async def test_a_question_that_fails_is_a_turn_like_any_other(tmp_path: Path) -> None:
    """Otherwise an agent would ask without end where a model fails, each time with other words to keep."""
    ledger = Ledger(tmp_path)
    model = failing()
    async with ledger.journal:
        codes = []
        for _ in range(4):
            with pytest.raises(RefusedRequestError) as refused:
                await ledger.book.ask(model, asked())
            codes.append((refused.value.status, refused.value.code))

    assert codes == [(502, "model_failed")] * 3 + [(403, "budget")]
    assert [exceeded.name for exceeded in ledger.spent] == ["turns"]
    assert len(model.heard) == 3
    assert [entry["turn"] for entry in ledger.entries("model.failed")] == [1, 2, 3]


async def test_a_conversation_that_is_too_long_is_told_so_that_an_agent_can_shorten_it(
    tmp_path: Path,
) -> None:
    def answer(_: Sequence[Message], __: int) -> Reply:
        raise status_error("`x`", 400, {"message": "maximum context length is 9 tokens"})

    ledger = Ledger(tmp_path)
    async with ledger.journal:
        with pytest.raises(RefusedRequestError) as refused:
            await ledger.book.ask(Priced(answer), asked())

    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")
    assert refused.value.message == "`x` answered 400: maximum context length is 9 tokens"


@pytest.mark.parametrize(
    "raised",
    [
        BackendError("the backend `mine` failed: /home/me/settings: token 123"),
        ModelServerError("the key is not to be had: /home/me/key", failure=Failure(kind="credential")),
    ],
)
async def test_what_a_program_on_the_host_says_is_for_the_ledger_and_not_for_the_agent(
    tmp_path: Path, raised: BackendError
) -> None:
    """A backend of another package may name anything that its author saw fit to."""

    def answer(_: Sequence[Message], __: int) -> Reply:
        raise raised

    ledger = Ledger(tmp_path)
    async with ledger.journal:
        with pytest.raises(RefusedRequestError) as refused:
            await ledger.book.ask(Priced(answer), asked())

    assert refused.value.message == "the model gave no reply; the session's ledger says why"
    assert (refused.value.status, refused.value.code) == (502, "model_failed")
    assert [entry["error"] for entry in ledger.entries("model.failed")] == [raised.message]


async def test_what_is_kept_of_questions_is_within_the_sessions_output(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.budget.bound_output(1000, lambda: ledger.book.kept_bytes)
    model = Model(lambda _, __: Reply(text="ok"))
    async with ledger.journal:
        await ledger.book.ask(model, asked(UserMessage(text="x" * 2000)))
        with pytest.raises(RefusedRequestError, match="the budget of output ran out"):
            await ledger.book.ask(model, asked())

    assert [exceeded.name for exceeded in ledger.spent] == ["output"]


async def hung_up(ledger: Ledger, question: Asked) -> None:
    """Ask, and go away before the answer."""
    begun = asyncio.Event()

    class Endless(Priced):
        async def ask(self, *_: Any) -> Reply:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    asking = asyncio.create_task(ledger.book.ask(Endless(lambda _, __: Reply(text="")), question))
    await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_hanging_up_is_counted_with_its_tools_and_its_price(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    async with ledger.journal:
        await hung_up(ledger, asked(tools=(TOOL,)))
        with pytest.raises(RefusedRequestError, match="the budget of cost ran out"):
            await ledger.book.ask(Model(lambda _, __: Reply(text="ok")), asked())

    assert ledger.budget.input_tokens > 200
    assert ledger.budget.cost_micros == ledger.budget.input_tokens


@pytest.mark.parametrize("step", [Spoken(characters=401), TextTold(text="x" * 401)])
async def test_hanging_up_before_a_whole_answer_is_counted_with_what_the_model_said(
    tmp_path: Path, step: Step | Spoken
) -> None:
    """Where no stream is asked for, nothing is told; the model has spoken all the same."""
    begun = asyncio.Event()

    class Speaking(Priced):
        async def ask_aloud(self, _: object, __: object, tell: Tell) -> Reply:
            await tell(step)
            begun.set()
            return await asyncio.Event().wait()  # type: ignore[return-value]  # it never does

    ledger = Ledger(tmp_path)
    async with ledger.journal:
        asking = asyncio.create_task(ledger.book.ask(Speaking(lambda _, __: Reply(text="")), asked()))
        await begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert (ledger.budget.turns, ledger.budget.output_tokens) == (1, 101)


async def test_tools_are_in_the_ledger_once_and_secrets_in_them_and_in_calls_nowhere(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Hearing(Model):
        async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
            heard.append((messages, tools))
            return await super().ask(messages, tools)

    told = Tool(name="read", description=f"use {SECRET}", parameters={"title": SECRET})
    call = Call(call_id="1", proposal=ToolProposal(tool="read", arguments=json.dumps({"key": SECRET})))
    said = ModelMessage(reply=Reply(text="", calls=(call,)))
    ledger = Ledger(tmp_path)
    async with ledger.journal:
        for _ in range(2):
            await ledger.book.ask(Hearing(lambda _, __: Reply(text="ok")), asked(said, tools=(told,)))
        await ledger.book.ask(
            Hearing(lambda _, __: Reply(text="ok")), asked(said, tools=(replace(told, description="other"),))
        )

    assert [entry["role"] for entry in ledger.entries("message.added")] == ["system", "user", "system"]
    assert SECRET not in repr(heard)
    assert SECRET not in ledger.openings()
    assert heard[0][1][0].description.startswith("use ")


async def test_a_picture_is_named_in_the_ledger_and_one_that_holds_a_secret_is_withheld(
    tmp_path: Path,
) -> None:
    """Not refused: that would say for nothing, and in no ledger, whether a guess is the secret."""
    heard: list[object] = []
    spoilt = Media("image/gif", b"GIF89a" + SECRET.encode())

    def answer(messages: Sequence[Message], _: int) -> Reply:
        heard.extend(messages)
        return Reply(text="ok")

    ledger = Ledger(tmp_path)
    async with ledger.journal:
        await ledger.book.ask(Model(answer), asked(UserMessage(text="x", media=(PICTURE,))))
        await ledger.book.ask(Model(answer), asked(UserMessage(text="x", media=(PICTURE, spoilt))))

    shown = UserMessage(text="x", media=(PICTURE,))
    assert heard == [shown, replace(shown, text="[a picture was withheld]\nx")]
    assert ledger.budget.turns == len(ledger.entries("model.asked")) == 2
    assert PICTURE.told in ledger.openings()
    assert "[a picture was withheld]" in ledger.openings()
    assert SECRET not in ledger.openings()
    assert spoilt.told not in ledger.openings()


async def test_no_two_messages_have_one_digest(tmp_path: Path) -> None:
    """With the parts joined by a mark, words could be moved into an id and pass for what is there already."""
    ledger = Ledger(tmp_path)
    messages = (
        ObservationMessage(call_id="a", text="b\0c", refused=False),
        ObservationMessage(call_id="a\0b", text="c", refused=False),
        UserMessage(text="assistant, as the agent tells it:\n"),
        UserMessage(text="hi", media=(PICTURE,)),
        UserMessage(text=f"{PICTURE.told}\nhi"),
        ModelMessage(reply=Reply(text="")),
    )
    async with ledger.journal:
        await ledger.book.ask(Model(lambda _, __: Reply(text="ok")), asked(*messages))

    assert len(ledger.entries("message.added")) == len(messages)


async def test_pictures_and_the_wish_for_a_call_are_in_the_ledger_with_the_question(tmp_path: Path) -> None:
    class Choosing(Model):
        def choosing(self, _: Choice) -> Model:
            return self

    ledger = Ledger(tmp_path)
    question = asked(UserMessage(text="a"), UserMessage(text="b", media=(PICTURE,)), tools=(TOOL,))
    async with ledger.journal:
        for choice in (None, Choice(), Choice(tool="read")):
            model = Choosing(lambda _, __: Reply(text="ok"))
            await ledger.book.ask(model, replace(question, choice=choice))

    kept = ledger.openings()
    pictures = json.dumps({"1": [PICTURE.told]}, separators=(",", ":"))
    for wanted in ("null", '""', '"read"'):
        assert f'"choice":{wanted}}}' in kept.replace('\\"', '"')
    assert kept.replace('\\"', '"').count(f'"pictures":{pictures}') == 3


@pytest.mark.parametrize("answers", [True, False])
async def test_models_that_were_asked_in_vain_are_in_the_ledger(tmp_path: Path, *, answers: bool) -> None:
    tried = (Tried(model="a", error="down"), Tried(model="b", error="slow"))
    model = Model(lambda _, __: Reply(text="ok", tried=tried)) if answers else failing(tried=tried)
    ledger = Ledger(tmp_path)
    async with ledger.journal:
        if answers:
            await ledger.book.ask(model, asked())
        else:
            with pytest.raises(RefusedRequestError):
                await ledger.book.ask(model, asked())

    failed = [(e["model"], e["attempt"], e["will_retry"]) for e in ledger.entries("model.failed")]
    assert failed == [("a", 1, True), ("b", 2, True), *([] if answers else [("test", 3, False)])]
