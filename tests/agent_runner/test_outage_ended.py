"""A session that is ended just when its model's server fails: nobody is left to hear of it."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner import outage
from agent_runner.backends.failure import Failure, ModelServerError
from agent_runner.errors import BackendError
from tests.agent_runner.reachable import LONG
from tests.agent_runner.stand import FINISH, POLICY, Model, Stand, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message, Reply
    from agent_runner.request import SessionResult
    from cli_tools.schema import Tool


async def test_a_failure_in_the_turn_in_which_its_session_is_ended_is_not_printed(stand: Stand) -> None:
    """Asyncio prints a task's error that nobody looked at, with a traceback, on the person's terminal."""
    unread: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
    running: list[asyncio.Task[SessionResult]] = []

    def answer(_heard: Sequence[Message], _turn: int) -> Reply:
        running.pop().cancel()
        raise ModelServerError("`model.test` failed", failure=Failure(kind="unreachable"))

    running.append(asyncio.create_task(stand.run(Model(answer))))
    await asyncio.wait({*running})
    gc.collect()

    assert running == []
    assert unread == []


class Deaf:
    """A model that makes something else of being cancelled in its second question, and answers later ones.

    Args:
        makes: A reply, or what it raises; None where it ends as it is told to.
    """

    kind = model = "test"

    def __init__(self, makes: Reply | Exception | None) -> None:
        self._makes = makes
        self.asked = 0
        self.hangs = asyncio.Event()

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - the protocol's
        """Answer, hang, answer."""
        self.asked += 1
        if self.asked != 2:
            return lines("files list") if self.asked == 1 else FINISH
        self.hangs.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            if self._makes is None:
                raise
            if isinstance(self._makes, Exception):
                raise self._makes from error
            return self._makes
        raise AssertionError("nobody wakes it")

    async def close(self) -> None:
        """Do nothing."""


MADE = {
    "nothing": None,
    "reply": lines("files list --depth 2"),
    "finish": FINISH,
    "server": ModelServerError("cut off", failure=Failure(kind="unreachable")),
    "backend": BackendError("cut off"),
    "connection": ConnectionResetError(104, "Connection reset by peer"),
    "fault": RuntimeError("cut off"),
}
ENDED = {"stop": ("interrupted", 130), "wall": ("budget", 5), "lost": ("sandbox_failed", 4)}


@pytest.mark.parametrize("makes", MADE)
@pytest.mark.parametrize("ended", ENDED)
async def test_a_question_that_is_given_up_stays_so_whatever_its_backend_makes_of_that(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, ended: str, makes: str
) -> None:
    """By a person, the wall time, or because the sandbox is gone: nobody asks again or takes its reply."""
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.01)
    model = Deaf(MADE[makes])
    policy = f"{POLICY}budget: {{wall_time: 3s}}\n" if ended == "wall" else POLICY

    run = asyncio.create_task(stand.run(model, policy))
    await asyncio.wait_for(model.hangs.wait(), LONG)
    if ended == "stop":
        run.cancel()
    elif ended == "lost":
        stand.housing.kill()
    result = await asyncio.wait_for(run, LONG)

    assert ((result.status, result.exit_code), model.asked) == (ENDED[ended], 2)
