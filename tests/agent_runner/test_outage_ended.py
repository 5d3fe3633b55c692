"""A session that is ended just when its model's server fails: nobody is left to hear of it."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

from agent_runner.backends.failure import Failure, ModelServerError
from tests.agent_runner.stand import Model, Stand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message, Reply
    from agent_runner.request import SessionResult


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
