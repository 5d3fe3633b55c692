"""Hold one client's session: what it calls goes through the loop, the gate and the ledger as a model's does.

The session begins with the first call, and ends when the client goes.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from agent_runner.backends.backend import Call, Reply
from agent_runner.errors import RunnerError
from agent_runner.session import run_session
from cli_tools.action import LineProposal, ToolProposal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Backend, Message
    from agent_runner.request import SessionRequest, SessionResult
    from agent_runner.transcript import Watcher
    from cli_tools.observation import Observation
    from cli_tools.schema import Tool

CLOSE_SECONDS: Final = 60.0
"""For an action that is under way when the client goes; then it is interrupted."""
_BYE: Final = LineProposal(line="finish --status done 'the client has gone'")


class SessionEndedError(RunnerError):
    """Raised when a client calls a tool of a session that is over."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of the client's."""

    call: Call
    answer: asyncio.Future[Observation]


class Caller:
    """One client, which proposes what a model would: it is the session's backend and its watcher.

    Args:
        started: Makes what the session is started with.
    """

    kind = "mcp"

    def __init__(self, started: Callable[[Backend, Watcher], SessionRequest], *, model: str) -> None:
        self.model = model
        self._started = started
        self._asked: asyncio.Queue[Asked | None] = asyncio.Queue()
        self._numbers = count(1)
        self._current: asyncio.Future[Observation] | None = None
        self._session: asyncio.Task[SessionResult] | None = None

    async def call_tool(self, tool: str, arguments: str) -> Observation:
        """Take one call through the gate, after those that came before it.

        Args:
            tool: Its name.
            arguments: JSON text.

        Raises:
            SessionEndedError: When the session is over, or ends before the call was answered.
        """
        if self._session is None:
            self._session = asyncio.create_task(run_session(self._started(self, self)))
        answer: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
        call = Call(call_id=f"m{next(self._numbers)}", proposal=ToolProposal(tool=tool, arguments=arguments))
        self._asked.put_nowait(Asked(call, answer))
        try:
            both: set[asyncio.Future[Any]] = {answer, self._session}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise _ended(self._session)
        finally:
            answer.cancel()

    async def close(self) -> None:
        """Give back nothing: a client is no connection of the session's."""

    async def leave(self) -> SessionResult | None:
        """End the session in order, at once when cancelled, and return its account; None if there is none."""
        if self._session is None:
            return None
        self._asked.put_nowait(None)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({self._session}, timeout=CLOSE_SECONDS)
        self._session.cancel()
        with contextlib.suppress(Exception):
            return await self._session
        return None

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - a client needs no telling
        """Return the client's next call; one that it has taken back is passed over."""
        while True:
            asked = await self._asked.get()
            if asked is None:
                return Reply(text="", calls=(Call(call_id="bye", proposal=_BYE),))
            if not asked.answer.done():
                self._current = asked.answer
                return Reply(text="", calls=(asked.call,))

    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Answer the call that was made."""
        if self._current is not None and not self._current.done():
            self._current.set_result(observation)
        self._current = None


def _ended(session: asyncio.Task[SessionResult]) -> SessionEndedError:
    if session.cancelled():
        return SessionEndedError("the session was interrupted")
    if (error := session.exception()) is not None:
        message = str(getattr(error, "message", "") or error)
        return SessionEndedError(message, hint=str(getattr(error, "hint", "")))
    result = session.result()
    return SessionEndedError(
        f"session {result.session} is over: {result.reason}", hint="connect again for another session"
    )
