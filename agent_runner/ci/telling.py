"""Tell what a task does while it runs: from its own process, a line of JSON each, to whoever shows it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from audit.escape import escape_line
from cli_tools.action import LineProposal

if TYPE_CHECKING:
    from agent_runner.backends.backend import Reply
    from agent_runner.ci.outcome import TaskResult
    from cli_tools.observation import Observation

_LONGEST: Final = 200


class Onlooker(Protocol):
    """Be told what happens to cases, for a person's eyes."""

    def began(self, case: str) -> None:
        """Take note that a case was started."""
        ...

    def said(self, case: str, line: str) -> None:
        """Take note of a line about a case; it is escaped."""
        ...

    def does(self, case: str, turn: int, action: str) -> None:
        """Take note of what a case's agent asks for; it is escaped."""
        ...

    def ended(self, result: TaskResult) -> None:
        """Take note of what came of a case."""
        ...


class Unseen:
    """Show nothing; `Onlooker`."""

    def began(self, case: str) -> None:
        """Take no note."""

    def said(self, case: str, line: str) -> None:
        """Take no note."""

    def does(self, case: str, turn: int, action: str) -> None:
        """Take no note."""

    def ended(self, result: TaskResult) -> None:
        """Take no note."""


class Teller:
    """Tell it from the task's process; `transcript.Watcher` and `sandbox.runtime.engine.Progress`."""

    def __init__(self) -> None:
        self._last = ""

    def line(self, text: str) -> None:
        """Tell one line of what goes on."""
        _tell({"said": escape_line(text, width=_LONGEST)})

    def session(self, session: str) -> None:
        """Tell that a session begins, so that what it leaves can be found."""
        _tell({"session": session})

    def __call__(self, message: str, /, *, done: int, total: int) -> None:  # noqa: ARG002 - the steps are not shown
        """Tell each new step of something that takes long once."""
        if message != self._last:
            self._last = message
            self.line(message)

    def said(self, turn: int, reply: Reply) -> None:
        """Tell what the model asks for first."""
        proposal = reply.calls[0].proposal if reply.calls else None
        if proposal is None:
            return
        line = proposal.line if isinstance(proposal, LineProposal) else proposal.tool
        _tell({"turn": turn, "action": escape_line(line, width=_LONGEST)})

    def saw(self, observation: Observation) -> None:
        """Take no note."""


def _tell(what: dict[str, object]) -> None:
    with suppress(OSError):  # whoever listened was killed; a session ends in order all the same
        os.write(1, json.dumps(what).encode() + b"\n")


def heard(line: bytes, case: str, onlooker: Onlooker, sessions: set[str]) -> None:
    """Pass on one line of a task's process; what is no such line is shown as one.

    Args:
        line: As it came.
        case: Whose.
        onlooker: Who is told.
        sessions: Takes the sessions that it began.
    """
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    match told:
        case {"said": str(said)}:
            onlooker.said(case, said)
        case {"session": str(session)}:
            sessions.add(session)
        case {"turn": int(turn), "action": str(action)}:
            onlooker.does(case, turn, action)
        case _:
            onlooker.said(case, escape_line(line.decode("utf-8", "replace"), width=_LONGEST))
