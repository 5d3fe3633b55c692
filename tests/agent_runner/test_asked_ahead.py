"""A model's first call overlaps with the launch of the sandbox; what it says is acted upon behind it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from agent_runner import cancelling, session
from agent_runner.fold import read_past
from audit.verify import verify_session
from sandbox.errors import SandboxLostError
from tests.agent_runner.stand import FINISH, SESSION, Model, lines, saying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.housing import Housed, Housing, Order
    from tests.agent_runner.stand import Stand

WAIT_SECONDS = 60.0


class Held:
    """A housing that gives its sandbox once it may, or fails."""

    def __init__(self, inner: Housing, may: asyncio.Event, *, fails: bool = False) -> None:
        self._inner = inner
        self._may = may
        self._fails = fails
        self.ordered = asyncio.Event()

    @contextlib.asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Wait, then give what the other gives."""
        self.ordered.set()
        await asyncio.wait_for(self._may.wait(), WAIT_SECONDS)
        if self._fails:
            raise SandboxLostError("no engine answers")
        async with self._inner.house(order) as housed:
            yield housed


class Heard(Model):
    """A model that says when it was asked, and answers at once, or never."""

    def __init__(self, asked: asyncio.Event, *, answers: bool = True) -> None:
        super().__init__(lambda _, turn: FINISH if turn > 1 else lines("files list"))
        self.asked = asked
        self.answers = answers
        self.hung_up = False

    async def ask(self, messages: object, tools: object) -> object:  # type: ignore[override]  # as it is
        """Take note."""
        self.asked.set()
        if not self.answers:
            try:
                await asyncio.Event().wait()
            finally:
                self.hung_up = True
        return await super().ask(messages, tools)  # type: ignore[arg-type]


async def test_the_first_question_leaves_before_there_is_a_sandbox(stand: Stand) -> None:
    """And its answer, which is there first, is acted upon in the sandbox alone."""
    asked = asyncio.Event()

    result = await stand.run(Heard(asked), housing=Held(stand.housing, asked))

    assert (result.status, result.totals.turns) == ("done", 2)
    assert len(stand.entries("model.asked")) == 2
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_a_program_that_asks_is_asked_once_there_is_a_sandbox(stand: Stand) -> None:
    """The twin: it would be told that the session is ready."""
    asked, may = asyncio.Event(), asyncio.Event()
    housing = Held(stand.housing, may)
    running = asyncio.ensure_future(stand.run(Heard(asked), housing=housing, may_repeat=True))
    await housing.ordered.wait()
    await asyncio.sleep(0.2)
    early = asked.is_set()
    may.set()

    result = await running

    assert (early, result.status) == (False, "done")


async def test_a_launch_that_fails_takes_the_question_back(stand: Stand) -> None:
    """The launch's error is the session's; what was asked is told to nobody, and asked again on resume."""
    asked = asyncio.Event()
    model = Heard(asked, answers=False)

    result = await stand.run(model, housing=Held(stand.housing, asked, fails=True))
    again = await stand.resume(saying(FINISH))

    assert (result.status, result.exit_code, model.hung_up) == ("sandbox_failed", 4, True)
    assert result.totals.turns == 0
    assert (again.status, again.totals.turns) == ("done", 1)
    assert [entry["turn"] for entry in stand.entries("model.asked")] == [1, 1]


async def test_an_answer_whose_launch_failed_is_counted_and_gone_on_with(stand: Stand) -> None:
    """It was said, and is paid for: nobody asks for it twice."""
    asked = asyncio.Event()

    result = await stand.run(Heard(asked), housing=Held(stand.housing, asked, fails=True))
    acted = stand.entries("action.intended")
    again = await stand.resume(saying(FINISH))

    assert (result.status, result.totals.turns, acted) == ("sandbox_failed", 1, [])
    assert (again.status, again.totals.turns) == ("done", 2)
    assert next(entry["argv"] for entry in stand.entries("action.intended")) == ["files", "list"]
    assert read_past(stand.state, SESSION).used.turns == 2


async def test_a_session_interrupted_while_it_starts_hangs_up(stand: Stand) -> None:
    asked, may = asyncio.Event(), asyncio.Event()
    model = Heard(asked, answers=False)
    request = stand.request(model, housing=Held(stand.housing, may))
    running = asyncio.ensure_future(session.run_session(request))
    await asked.wait()

    running.cancel()
    result = await running

    assert (result.status, result.exit_code, model.hung_up) == ("interrupted", 130, True)
    assert verify_session(stand.state, SESSION).faults() == {}


class Clinging(Heard):
    """A model that lets go of no question."""

    def __init__(self, asked: asyncio.Event) -> None:
        super().__init__(asked)
        self.may_go = asyncio.Event()

    async def ask(self, _messages: object, _tools: object) -> object:  # type: ignore[override]  # as it is
        """Hold on to it."""
        self.asked.set()
        while not self.may_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.may_go.wait()
        return FINISH


@pytest.mark.parametrize("pressed", [False, True], ids=["alone", "and is interrupted"])
async def test_a_launch_that_fails_waits_for_no_model_that_lets_go_of_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, *, pressed: bool
) -> None:
    """Its error is the session's, also where Ctrl-C comes while the question is taken back."""
    monkeypatch.setattr(cancelling, "LET_GO_SECONDS", 0.5)
    asked = asyncio.Event()
    model = Clinging(asked)
    request = stand.request(model, housing=Held(stand.housing, asked, fails=True))

    running = asyncio.ensure_future(session.run_session(request))
    await asked.wait()
    if pressed:
        await asyncio.sleep(0.1)
        running.cancel()
    result = await asyncio.wait_for(running, WAIT_SECONDS)
    model.may_go.set()

    assert (result.status, result.exit_code) == ("sandbox_failed", 4)
    assert verify_session(stand.state, SESSION).faults() == {}
