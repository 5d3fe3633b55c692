"""Carry out one action in a session of its own: the same ledger, sandbox and gate as any other."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.backends.scripted import LineAction, Script, ScriptedBackend, Turn
from agent_runner.commands import known_commands
from agent_runner.errors import InvalidInputError
from agent_runner.session import SessionResult, run_session
from cli_tools.action import LineProposal
from cli_tools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Reply
    from agent_runner.place import Place
    from cli_tools.observation import Observation

TASK = "one action, called by a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What came of one action."""

    result: SessionResult
    seen: Observation | None
    """None when the session broke before the action came to an end."""


async def call(words: Sequence[str], body: bytes | None, place: Place) -> Called:
    """Carry out the action that the words mean.

    Args:
        words: The command line, one word each.
        body: Content beside it.
        place: Where.

    Raises:
        InvalidInputError: When the words mean no action; nothing was started.
    """
    return await call_line(shlex.join(words), body, place)


async def call_line(line: str, body: bytes | None, place: Place) -> Called:
    """Do the same for a line that is not yet taken apart."""
    try:
        (place.catalogue or known_commands()).parse(LineProposal(line=line, body=body))
    except UsageError as error:
        raise InvalidInputError(error.message, hint=error.hint) from error
    content = None if body is None else body.decode("utf-8", "surrogateescape")
    action = LineAction(command=line, content=content)
    script = Script(version=1, turns=(Turn(actions=(action,)), Turn(actions=("finish --status done",))))
    watcher = _First()
    result = await run_session(place.request(TASK, ScriptedBackend(script, name="tools call"), watcher))
    return Called(result=result, seen=watcher.seen)


class _First:
    """Keep the first observation of a session."""

    def __init__(self) -> None:
        self.seen: Observation | None = None

    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Keep what was seen first."""
        self.seen = self.seen or observation
