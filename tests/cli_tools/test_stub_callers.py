"""Callers of commands that are dropped just when there is an answer: nobody is left to hear of it."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

from cli_tools.errors import ActionError
from cli_tools.stub_records import record
from tests.cli_tools.door import open_door

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLICY = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *"]}
"""


async def patient() -> AsyncIterator[bytes]:
    """Call a command, and wait for its answer."""
    yield record(b"a", b"files\0list\0")
    await asyncio.Event().wait()


async def test_an_error_in_the_turn_in_which_its_caller_is_dropped_is_not_printed(place: Path) -> None:
    """Asyncio prints a task's error that nobody looked at, with a traceback, on the person's terminal."""
    unread: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
    serving: list[asyncio.Task[None]] = []

    async def send(_: bytes) -> None:
        raise AssertionError("it has gone")

    def spend() -> None:
        serving.pop().cancel()
        raise ActionError("budget", "none is left")

    async with open_door(place, POLICY, spend=spend) as door:
        serving.append(asyncio.create_task(door.stubs(patient(), send, lambda: None)))
        task = serving[0]
        await asyncio.wait({task})
        ended = (task.cancelled(), serving)
        del task
    gc.collect()

    assert ended == (True, [])
    assert unread == []
