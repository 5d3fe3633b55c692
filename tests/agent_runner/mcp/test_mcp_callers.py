"""Who is served at once over MCP, and how sessions end: those still ending count, unknown names do not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from agent_runner.errors import RunnerError
from agent_runner.mcp import caller as calling
from agent_runner.mcp.caller import Caller
from agent_runner.mcp.serving import MOST_CLIENTS, Callers

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.request import SessionResult
    from tests.agent_runner.stand import Stand

WAIT_SECONDS: Final = 120.0
POLICY: Final = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: [run]}
"""


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


@pytest.mark.parametrize("by_signal", [True, False])
async def test_a_signal_interrupts_the_action_of_a_client_that_has_gone(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, *, by_signal: bool
) -> None:
    """A client closes stdin, sends SIGTERM some seconds later and then SIGKILL."""
    monkeypatch.setattr(calling, "CLOSE_SECONDS", 10_000.0 if by_signal else 0.1)
    ended: list[SessionResult] = []
    callers = Callers(
        lambda: Caller(
            lambda backend, watcher: stand.request(
                backend, POLICY, watcher=watcher, session="", may_repeat=True
            ),
            model="test",
        ),
        ended.append,
    )
    arguments = json.dumps({"argv": ["sh", "-c", "touch begun; sleep 10000"]})
    async with asyncio.timeout(WAIT_SECONDS):
        call = asyncio.create_task(callers.of("").call_tool("run", arguments))
        await _until_there(stand.folder / "begun")
        closing = asyncio.create_task(callers.close())
        await asyncio.sleep(0.1)
        if by_signal:
            closing.cancel()
        (raised, _) = await asyncio.gather(closing, call, return_exceptions=True)

    assert isinstance(raised, asyncio.CancelledError) is by_signal
    assert [result.status for result in ended] == ["interrupted"]


async def _until_there(path: Path) -> None:
    while not path.exists():  # noqa: ASYNC110, ASYNC240 - made by a process in the guest
        await asyncio.sleep(0.05)
