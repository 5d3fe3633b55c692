"""However a session ends, its ledger and its account say how, and agree."""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.account import account_lines
from agent_runner.backends.backend import Reply, Usage
from agent_runner.ending import reason_of, status_of_error
from agent_runner.errors import BackendError
from audit.verify import verify_session
from sandbox.errors import SandboxError, SandboxLostError
from tests.agent_runner.stand import FINISH, SESSION, GuestHousing, Model, lines, saying, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.backends.backend import Backend
    from agent_runner.housing import Housed, Order
    from agent_runner.request import SessionResult
    from tests.agent_runner.stand import Stand

TIGHT = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\nbudget: '
WITH_PROGRAMS = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: [run, finish]}
"""


def told(stand: Stand, result: SessionResult) -> tuple[str, int, bool]:
    """Return status, code and whether it is unfinished, which ledger and account have to agree on."""
    closed = stand.entries("session.closed")[-1]
    assert (closed["status"], closed["exit_code"], closed["unfinished"], closed["reason"]) == (
        result.status,
        result.exit_code,
        result.unfinished,
        result.reason,
    )
    assert closed["totals"] == result.totals.model_dump()
    assert verify_session(stand.state, SESSION).faults() == {}
    return result.status, result.exit_code, result.unfinished


class LastLook(GuestHousing):
    """Look at what runs once the session's work is done: its result is collected then."""

    left = ""

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give a sandbox, and look at it at the end."""
        async with super().house(order) as housed:
            yield housed
            looked = await housed.sandbox.spawn(("sh", "-c", "cat /proc/[0-9]*/comm | grep -c sleep"))
            self.left = looked.output.decode().strip()


@pytest.mark.parametrize("replies", [(FINISH,), (lines(text="I stop here"),)], ids=["finished", "stopped"])
async def test_no_program_runs_in_the_background_while_the_result_is_collected(
    stand: Stand, replies: tuple[Reply, ...]
) -> None:
    """It would write while a copied workspace is taken out, and the session's work would be lost."""
    housing = LastLook(stand.folder)
    started = lines("run --background sleep 300", "run --background sh -c 'setsid sleep 300 & wait'")

    await stand.run(saying(started, *replies), WITH_PROGRAMS, housing=housing)

    assert [entry["outcome"] for entry in stand.entries("action.finished")][:2] == ["ok", "ok"]
    assert housing.left == "0"


@pytest.mark.parametrize(("word", "code"), [("done", 0), ("failed", 1)])
async def test_finish_ends_a_session_with_the_models_own_word(stand: Stand, word: str, code: int) -> None:
    """`finish --status` decides between exit 0 and 1."""
    result = await stand.run(saying(lines("files list", f"finish --status {word} because")))

    assert told(stand, result) == (word, code, False)
    assert result.reason == "because"
    assert (result.totals.turns, result.totals.actions, result.totals.denials) == (1, 2, 0)


async def test_calls_after_finish_are_not_carried_out(stand: Stand) -> None:
    """A session that has ended does nothing more, whatever else the reply held."""
    await stand.run(saying(lines("finish --status done", "files remove keep")))

    assert [entry["command"] for entry in stand.entries("action.intended")] == ["finish"]


async def test_a_model_that_just_stops_is_done_and_unfinished(stand: Stand) -> None:
    """No call, no `finish`: exit 0, and said to be unfinished."""
    result = await stand.run(saying(lines(text="I am done, I think")))

    assert told(stand, result) == ("done", 0, True)
    assert "(unfinished)" in account_lines(result)[0]


async def test_the_account_keeps_to_80_columns_however_much_the_model_says_at_the_end(stand: Stand) -> None:
    result = await stand.run(saying(lines(f"finish --status done '{'it is mended now ' * 20}'")))

    shown = [line for line in account_lines(result) if str(result.ledger) not in line]
    assert max(map(len, shown)) <= 80
    assert " is mended now" in shown[1]
    assert "more characters" in " ".join(shown)


async def test_a_model_that_does_not_answer_ends_the_session_with_7(stand: Stand) -> None:
    """The failed question is an entry of its own, with the reason."""
    result = await stand.run(saying())

    assert told(stand, result) == ("model_failed", 7, False)
    assert [entry["error"] for entry in stand.entries("model.failed")] == [
        "the model has nothing more to say"
    ]
    assert isinstance(result.error, BackendError)
    assert f"resume   `pairlock resume {SESSION}` goes on" in account_lines(result)


async def test_a_session_that_is_over_is_not_said_to_go_on(stand: Stand) -> None:
    result = await stand.run(saying(FINISH))

    assert not any(line.startswith("resume") for line in account_lines(result))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "[Errno 104] Connection reset by peer"),
        (TimeoutError(), ""),
    ],
)
async def test_a_connection_that_a_backend_loses_is_the_models_failure(
    stand: Stand, error: OSError, said: str
) -> None:
    """It was told as the sandbox's, exit 4, and a time-out without a word."""

    def answer(*_: object) -> Reply:
        raise error

    result = await stand.run(Model(answer))

    assert told(stand, result) == ("model_failed", 7, False)
    assert result.reason == ": ".join(filter(None, ("the backend `test` failed", type(error).__name__, said)))
    assert [entry["error"] for entry in stand.entries("model.failed")] == [result.reason]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (5, "input/output error"),
        (b"upper", "upper: input/output error"),
        ("upper", "upper: input/output error"),
    ],
)
async def test_a_fault_of_this_machine_at_a_descriptor_or_a_path_is_told(
    stand: Stand, named: object, reason: str
) -> None:
    """A descriptor has no name; the session's last entry is written all the same."""
    stand.housing.error = OSError(errno.EIO, "Input/output error", named)

    result = await stand.run(saying(FINISH))

    assert told(stand, result) == ("sandbox_failed", 4, False)
    assert result.reason == reason


def test_a_fault_of_this_machine_is_the_sandboxs_only_while_there_is_none() -> None:
    """Without a word of its own, it is told by its kind."""
    error = OSError()

    assert status_of_error(error, housed=False) == "sandbox_failed"
    assert (status_of_error(error, housed=True), reason_of(error)) == ("failed", "OSError")


async def test_a_sandbox_that_cannot_be_made_ends_the_session_with_4(stand: Stand) -> None:
    """The model is never asked."""
    stand.housing.error = SandboxError("no engine answers")
    model = saying(FINISH)

    result = await stand.run(model)

    assert told(stand, result) == ("sandbox_failed", 4, False)
    assert result.reason == "no engine answers"
    assert model.heard == []


async def test_a_guest_that_is_killed_ends_the_session_with_4(stand: Stand) -> None:
    """What was under way has an intent and no outcome: nobody knows it, and nobody makes one up."""

    def answer(_: object, turn: int) -> Reply:
        if turn == 2:
            stand.housing.kill()
        return lines(f"files list --depth {turn}")

    result = await stand.run(Model(answer))

    assert told(stand, result) == ("sandbox_failed", 4, False)
    assert len(stand.entries("action.intended")) == 2
    assert len(stand.entries("action.finished")) == 1


async def test_an_interrupted_session_is_closed_with_130(stand: Stand) -> None:
    """Cancellation reaches the loop, and the ledger is closed all the same."""
    asked = asyncio.Event()

    class Slow:
        kind = model = "slow"

        async def ask(self, *_: object) -> object:
            asked.set()
            await asyncio.Event().wait()
            return None

        async def close(self) -> None:
            """Do nothing."""

    backend: Backend = Slow()  # type: ignore[assignment]  # it never answers
    session = asyncio.ensure_future(stand.run(backend))
    await asked.wait()

    session.cancel()
    result = await session

    assert told(stand, result) == ("interrupted", 130, False)
    assert result.reason == "interrupted"


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ("{turns: 2}", "the budget of turns ran out: 2 of 2 turns"),
        ("{tokens: 25}", "the budget of tokens ran out: 30 of 25 tokens"),
        (
            "{cost_usd: 0.5}",
            "the budget of cost ran out: 600000 of 500000 millionths of a US dollar",
        ),
        ("{cost_usd: 0}", "the budget of cost ran out: 200000 of 0 millionths of a US dollar"),
    ],
)
async def test_a_budget_that_ran_out_is_named(stand: Stand, budget: str, reason: str) -> None:
    """Exit 5, the reason and a ledger entry name which one; no question goes beyond it."""
    used = Usage(input_tokens=4, output_tokens=6, cost_micros=200_000)
    model = Model(lambda _, turn: replace(lines(f"files list --depth {turn}"), usage=used))

    result = await stand.run(model, TIGHT + budget)

    assert told(stand, result) == ("budget", 5, False)
    assert f"resume   `pairlock resume {SESSION} --add-budget …` goes on" in account_lines(result)
    assert result.reason == reason
    assert len(stand.entries("limit.hit")) == 1
    assert len(model.heard) == result.totals.turns


async def test_the_wall_clock_ends_even_a_question_that_is_never_answered(stand: Stand) -> None:
    """Hard: whatever is under way is ended, and its outcome is unknown."""

    class Deaf:
        kind = model = "deaf"

        async def ask(self, *_: object) -> object:
            await asyncio.Event().wait()
            return None

        async def close(self) -> None:
            """Do nothing."""

    backend: Backend = Deaf()  # type: ignore[assignment]  # it never answers

    result = await stand.run(backend, TIGHT + "{wall_time: 1s}")

    assert told(stand, result) == ("budget", 5, False)
    assert result.reason.startswith("the budget of wall time ran out")


async def test_a_model_that_repeats_itself_is_stopped_the_third_time(stand: Stand) -> None:
    """Three the same in a row end the session; two, and then another, do not."""
    stuck = await stand.run(saying(*[tool("files_list", "{}")] * 5))

    assert told(stand, stuck) == ("failed", 1, False)
    assert stuck.reason == "the model made the same calls 3 times in a row"
    assert stuck.totals.actions == 3


async def test_a_model_that_changes_its_mind_is_not_stopped(stand: Stand) -> None:
    """The positive twin: the same twice, something else, the same twice."""
    same, other = tool("files_list", "{}"), tool("files_list", '{"depth": 2}')

    result = await stand.run(saying(same, same, other, same, same, FINISH))

    assert told(stand, result) == ("done", 0, False)


async def test_a_lost_sandbox_is_no_observation(stand: Stand) -> None:
    """When the guest is gone the model is not asked again, as if it could help."""
    model = saying(lines("files list"), FINISH)
    stand.housing.error = SandboxLostError("the guest does not answer")

    result = await stand.run(model)

    assert told(stand, result)[0] == "sandbox_failed"
