"""Who is served at once over MCP: sessions that are still ending count, and names that nobody has do not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent_runner.errors import RunnerError
from agent_runner.mcp.serving import MOST_CLIENTS, Callers

if TYPE_CHECKING:
    from agent_runner.mcp.caller import Caller


class Slow:
    """A client whose session ends when it is told to."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def leave(self) -> None:
        """End."""
        await self.may_end.wait()


async def test_a_session_that_is_still_ending_takes_a_place() -> None:
    made: list[Slow] = []

    def one() -> Caller:
        made.append(Slow())
        return cast("Any", made[-1])

    callers = Callers(one, lambda _: None)
    for number in range(MOST_CLIENTS):
        callers.of(str(number))
        callers.gone(str(number))

    with pytest.raises(RunnerError, match=f"^{MOST_CLIENTS} sessions are open or still ending$"):
        callers.of("one more")
    assert not callers.knows("one more")

    for each in made:
        each.may_end.set()
    await callers.close()
    assert callers.of("one more") is callers.of("one more")
    assert callers.knows("one more")
    made[-1].may_end.set()
    await callers.close()
