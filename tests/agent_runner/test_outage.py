"""A model's server that was there and is down for an hour is waited for; the session says so, and goes on."""

from __future__ import annotations

import asyncio
import math
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from agent_runner import outage
from agent_runner.backends.backend import ModelMessage, UserMessage
from agent_runner.backends.failure import Failure, Kind, ModelServerError
from agent_runner.cli.show import shown_lines
from agent_runner.fold import read_past
from agent_runner.listing import listed
from agent_runner.outage import GIVEN_UP_SECONDS, LONGEST_WAIT_SECONDS, Outage
from agent_runner.shown import shown
from agent_runner.stopping import stop_session
from audit.state import StateFiles
from audit.verify import verify_session
from tests.agent_runner.delegating import POLICY as DELEGATING
from tests.agent_runner.reachable import LONG, going_down, reachable
from tests.agent_runner.sleeping import Clock
from tests.agent_runner.stand import FINISH, IN_ITS_SANDBOX, POLICY, SESSION, Model, Stand, lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message, Reply
    from cli_tools.schema import Tool

HOUR_SECONDS = 3600.0


async def test_a_server_that_is_down_for_an_hour_is_waited_for(stand: Stand) -> None:
    """Each try is in the ledger and told; the conversation goes on as if nothing had been."""
    clock = Clock()
    model = going_down(
        lines("files list"), lines("files list"), FINISH, seconds=HOUR_SECONDS, monotonic=clock.now
    )

    result = await stand.run(model, outage=clock.outage, progress=clock.tell)

    failed = stand.entries("model.failed")
    waits = [line for line in clock.told if "asking again" in line]
    assert (result.status, result.exit_code, result.totals.turns) == ("done", 0, 3)
    assert HOUR_SECONDS <= clock.seconds <= HOUR_SECONDS + LONGEST_WAIT_SECONDS
    assert {(entry["turn"], entry["will_retry"]) for entry in failed} == {(2, True)}
    assert [entry["attempt"] for entry in failed] == list(range(1, len(failed) + 1))
    assert len(waits) == len(failed)
    assert waits[1] == (
        "the model's server is down for 10 s: `model.test` cannot be reached; asking again in 20 s"
    )
    assert (
        len({conversation for conversation in model.heard if len(conversation) == len(model.heard[1])}) == 1
    )
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_a_server_that_never_answered_is_not_waited_for(stand: Stand) -> None:
    """It is more often misspelt than down."""
    clock = Clock()

    result = await stand.run(failing(Failure(kind="unreachable")), outage=clock.outage)

    assert (result.status, result.exit_code, clock.seconds) == ("model_failed", 7, 0)
    assert [entry["will_retry"] for entry in stand.entries("model.failed")] == [False]


NO_WAITING_MENDS = [
    Failure(kind="refused", status=400),
    Failure(kind="credential"),
    Failure(kind="timeout"),
    Failure(kind="broken"),
    *(Failure(kind="overloaded", status=status) for status in (408, 500)),
    *(Failure(kind=kind, told=True) for kind in ("unreachable", "overloaded")),
]


@pytest.mark.parametrize("failure", NO_WAITING_MENDS, ids=str)
async def test_what_no_waiting_mends_or_what_was_paid_for_ends_the_session_at_once(
    stand: Stand, failure: Failure
) -> None:
    """A server that read the question may have counted it: 120 tries in two hours would all be paid for."""
    clock = Clock()

    result = await stand.run(failing(failure, after=1), outage=clock.outage)

    assert (result.status, result.exit_code, clock.seconds) == ("model_failed", 7, 0)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_takes_no_question_now_is_waited_for(stand: Stand, status: int) -> None:
    clock = Clock()
    failure = Failure(kind="overloaded", status=status)

    result = await stand.run(failing(failure, after=1, till=3), outage=clock.outage)

    assert (result.status, clock.seconds) == ("done", 30)


async def test_what_a_server_asks_to_wait_is_waited_and_the_sandbox_looked_at_meanwhile(stand: Stand) -> None:
    """Longer than we would, in pieces of a minute."""
    clock = Clock()
    failure = Failure(kind="overloaded", status=503, retry_after_seconds=1000.0)

    result = await stand.run(failing(failure, after=1, till=3), outage=clock.outage)

    assert (result.status, clock.seconds) == ("done", 2000)
    assert max(clock.slept) == LONGEST_WAIT_SECONDS


async def test_a_server_that_asks_to_wait_longer_than_anybody_does_is_given_up_at_once(stand: Stand) -> None:
    clock = Clock()
    failure = Failure(kind="overloaded", status=429, retry_after_seconds=GIVEN_UP_SECONDS + 1)

    result = await stand.run(failing(failure, after=1), outage=clock.outage)

    assert (result.exit_code, clock.seconds) == (7, 0)


@pytest.mark.parametrize("kind", ["unreachable", "overloaded"])
async def test_one_that_stays_down_is_given_up_in_the_end(stand: Stand, kind: Kind) -> None:
    """After two hours; resumed while it is down still, it is waited for again, and then goes on."""
    clock = Clock()

    result = await stand.run(failing(Failure(kind=kind), after=1), outage=clock.outage)
    waited = clock.seconds
    again = await stand.resume(
        going_down_first(seconds=HOUR_SECONDS, clock=clock), outage=clock.outage, progress=clock.tell
    )

    assert (result.exit_code, waited) == (7, GIVEN_UP_SECONDS)
    assert (again.status, again.exit_code) == ("done", 0)
    assert clock.seconds - waited >= HOUR_SECONDS


async def test_another_model_that_a_session_goes_on_with_is_waited_for_once_it_has_answered(
    stand: Stand,
) -> None:
    """That the first one had answered says nothing of a name that is misspelt."""
    clock = Clock()
    await stand.run(failing(Failure(kind="refused"), after=1), outage=clock.outage)

    misspelt = await stand.resume(
        failing(Failure(kind="unreachable")),
        outage=clock.outage,
        model_reference="openai:x@http://127.0.0.1/",
    )
    waited = clock.seconds
    other = await stand.resume(
        failing(Failure(kind="unreachable"), after=1, till=2),
        outage=clock.outage,
        model_reference="openai:y@http://127.0.0.1/",
    )

    assert (misspelt.status, misspelt.exit_code, waited) == ("model_failed", 7, 0)
    assert (other.status, clock.seconds) == ("done", 10)


async def test_a_session_below_waits_from_its_first_question_on(stand: Stand) -> None:
    """The one above asks the same server, which answered it."""
    clock = Clock()

    def answer(messages: Sequence[Message], _: int) -> Reply:
        task = next(message.text for message in messages if isinstance(message, UserMessage))
        if task == "a test":
            return (
                FINISH if any(isinstance(each, ModelMessage) for each in messages) else lines("delegate look")
            )
        if clock.seconds < HOUR_SECONDS:
            raise ModelServerError("`model.test` cannot be reached", failure=Failure(kind="unreachable"))
        return FINISH

    result = await stand.run(Model(answer), DELEGATING, may_delegate=True, outage=clock.outage)
    below = [read_past(stand.state, entry["child"]).closed for entry in stand.entries("session.delegated")]

    assert (result.status, [closed and closed.status for closed in below]) == ("done", ["done"])
    assert HOUR_SECONDS <= clock.seconds <= HOUR_SECONDS + LONGEST_WAIT_SECONDS


async def test_the_wall_time_goes_on_while_a_server_is_down(stand: Stand) -> None:
    """Its end is a budget's, which can be added to; the time that was waited is used."""
    policy = f"{POLICY}budget: {{wall_time: 8s}}\n"
    began = time.monotonic()

    result = await stand.run(going_down(lines("files list")), policy)

    assert (result.status, result.exit_code) == ("budget", 5)
    assert re.fullmatch(
        r"the budget of wall time ran out.*; the model's server had been down for \d s", result.reason
    )
    assert time.monotonic() - began < LONG
    assert [entry["will_retry"] for entry in stand.entries("model.failed")] == [True]


async def test_a_person_who_interrupts_it_ends_the_waiting(stand: Stand) -> None:
    """Ctrl-C is a cancellation; the session goes on later."""
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.sleep(seconds * 100)

    run = asyncio.create_task(stand.run(going_down(lines("files list")), outage=Outage(sleep=sleep)))
    await asyncio.wait_for(waiting.wait(), LONG)
    run.cancel()
    result = await asyncio.wait_for(run, LONG)
    again = await stand.resume(Model(lambda _heard, _turn: FINISH))

    assert (result.status, result.exit_code) == ("interrupted", 130)
    assert (again.status, again.totals.turns) == ("done", 2)


async def test_a_sandbox_that_is_lost_meanwhile_ends_the_waiting(stand: Stand) -> None:
    """There is nothing to go on with; resumed, it has a new one."""

    async def sleep(_seconds: float) -> None:
        stand.housing.kill()
        await asyncio.sleep(0.5)

    model = going_down(lines("files list"))
    result = await asyncio.wait_for(stand.run(model, outage=Outage(sleep=sleep)), LONG)
    again = await stand.resume(Model(lambda _heard, _turn: FINISH))

    assert (result.status, result.exit_code) == ("sandbox_failed", 4)
    assert (again.status, again.totals.turns) == ("done", 2)


class Hanging:
    """A model that takes the one question for ever, during which the sandbox is lost."""

    kind = model = "test"

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self.hung_up = False

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - the protocol's
        """Kill the guest, and wait for ever."""
        self._stand.housing.kill()
        try:
            await asyncio.Event().wait()
        finally:
            self.hung_up = True
        raise AssertionError("nobody wakes it")

    async def close(self) -> None:
        """Do nothing."""


async def test_a_sandbox_that_is_lost_while_a_server_hangs_ends_the_session(stand: Stand) -> None:
    """Its connection is closed, and nobody waits out the server's time."""
    model = Hanging(stand)

    result = await asyncio.wait_for(stand.run(model, **IN_ITS_SANDBOX), LONG)

    assert (result.status, result.exit_code, model.hung_up) == ("sandbox_failed", 4, True)


class HangingLater(Hanging):
    """The same, after some questions that it answered: quickly, and after several looks."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(stand)
        self.answered = 0

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Answer four times."""
        if self.answered == 4:
            return await super().ask(messages, tools)
        self.answered += 1
        await asyncio.sleep(5 * outage.LOOK_SECONDS * (self.answered % 2))
        return lines(f"files list --depth {self.answered}")


async def test_a_sandbox_that_is_lost_in_a_later_question_ends_the_session_too(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks go on from question to question; the twin: those before were answered, however long they took."""
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.01)
    model = HangingLater(stand)

    result = await asyncio.wait_for(stand.run(model, **IN_ITS_SANDBOX), LONG)

    assert (result.status, result.exit_code, model.hung_up) == ("sandbox_failed", 4, True)
    assert (model.answered, result.totals.turns) == (4, 4)


def failing(failure: Failure, *, after: int = 0, till: float = math.inf) -> Model:
    """Return a model that answers a few times, and then fails in one way, for ever or until a question."""

    def answer(_: Sequence[Message], turn: int) -> Reply:
        if turn > till:
            return FINISH
        if turn > after:
            raise ModelServerError("`model.test` failed", failure=failure)
        return lines("files list")

    return Model(answer)


def going_down_first(*, seconds: float, clock: Clock) -> Model:
    """Return a model that is down from its first question on, for a while."""
    ends = clock.now() + seconds

    def answer(_heard: Sequence[Message], _turn: int) -> Reply:
        if clock.now() < ends:
            raise ModelServerError("`model.test` cannot be reached", failure=Failure(kind="unreachable"))
        return FINISH

    return Model(answer)


def until_down(stand: Stand) -> None:
    """Wait until the session waits for its server."""
    ledger = stand.state / "sessions" / SESSION / "events.jsonl"
    deadline = time.monotonic() + LONG
    while not (ledger.exists() and b'"model.failed"' in ledger.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_other_terminals_see_what_it_waits_for_and_can_end_it(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """`ps` and `show` tell; stopped or killed with SIGKILL, it goes on with a server that is there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    files = StateFiles(stand.state).session(SESSION)
    with reachable(stand, "down", tmp_path) as process:
        until_down(stand)
        row, found = listed(stand.state)[0], shown(files, stand.state)
        if end == "stop":
            assert await asyncio.to_thread(stop_session, stand.state, SESSION) == "stopped"
        else:
            process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, LONG)
    after = (listed(stand.state)[0].waits_for, shown(files, stand.state).waits_for)
    again = await stand.resume(Model(lambda _heard, _turn: FINISH))

    assert (row.status, row.waits_for) == ("running", "its model's server")
    assert "waits    for its model's server: `model.test` cannot be reached" in list(shown_lines(found))
    assert found.as_json()["waits_for"] == "its model's server: `model.test` cannot be reached"
    assert after == ("", "")
    assert (again.status, again.totals.turns) == ("done", 2)
    assert verify_session(stand.state, SESSION).faults() == {}
