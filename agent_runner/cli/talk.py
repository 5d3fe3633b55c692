"""Say on stderr what goes on, for a person: plain lines, everything that an agent wrote escaped."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from agent_runner.cli.folding import columns_of, cut, folded, wrapped
from audit.escape import escape_line

if TYPE_CHECKING:
    from agent_runner.backends.backend import Reply
    from cli_tools.action import Proposal
    from cli_tools.observation import Observation

WIDTH: Final = 78
_SHOWN_LINES: Final = 4


def say(text: str = "") -> None:
    """Print to stderr; where nobody reads it any more, it is lost, and nothing else is.

    A terminal gets it folded between words at its width; whatever else reads it gets each line as one line.
    """
    try:
        pieces = (
            piece for line in text.split("\n") for piece in wrapped(line, columns=columns_of(sys.stderr))
        )
        print("\n".join(pieces), file=sys.stderr, flush=True)
    except OSError:  # a closed terminal, a pipe without a reader, a full disk
        fall_silent()


def fall_silent() -> None:
    """Write to stderr no more: nobody reads it, and Python would try again at exit, and leave with 120."""
    silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Write to stdout or stderr no more, for the same reason."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


class Progress:
    """Tell how far something that takes over a second has come; `sandbox.runtime.engine.Progress`."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, message: str, /, *, done: int, total: int) -> None:
        """Print each new step once."""
        if message != self._last:
            self._last = message
            steps = f" ({done + 1} of {total})" if total > 1 else ""
            say(f"{message}{steps} ...")


class PlainWatcher:
    """Show a session's turns as plain lines; `agent_runner.transcript.Watcher`.

    Args:
        indent: Stands before every line; a session below another one is set in.
    """

    def __init__(self, indent: str = "") -> None:
        self._indent = indent
        self._proposals: list[Proposal] = []

    def said(self, turn: int, reply: Reply) -> None:
        """Show what the model said and what it proposes."""
        self._line(f"turn {turn}")
        if reply.text:
            for line in folded(escape_line(reply.text), columns=WIDTH - 2 - len(self._indent), indent=0):
                self._line(f"  {line.rstrip()}")
        self._proposals = [call.proposal for call in reply.calls]

    def saw(self, observation: Observation) -> None:
        """Show an action, its verdict and the beginning of what came of it."""
        proposal = self._proposals.pop(0) if self._proposals else None
        width = WIDTH - 10 - len(self._indent)
        self._line(f"  {_MARKS[observation.kind]:<7} {cut(escape_line(_line(proposal)), columns=width)}")
        lines = observation.text.splitlines()
        for line in lines[:_SHOWN_LINES]:
            self._line(f"          {cut(escape_line(line), columns=width)}")
        if len(lines) > _SHOWN_LINES:
            self._line(f"          [{len(lines) - _SHOWN_LINES} more lines]")

    def below(self, session: str, task: str) -> PlainWatcher:
        """Show that a session begins below this one, and return who looks at it, set in."""
        self._line(
            f"  below: session {session}: {cut(escape_line(task), columns=WIDTH - 32 - len(self._indent))}"
        )
        return PlainWatcher(f"{self._indent}    ")

    def _line(self, text: str) -> None:
        say(f"{self._indent}{text}")


class SilentWatcher:
    """Show nothing."""

    def said(self, turn: int, reply: Reply) -> None:
        """Do nothing."""

    def saw(self, observation: Observation) -> None:
        """Do nothing."""


_MARKS: Final = {"done": "ran", "error": "error", "denied": "denied"}


def _line(proposal: Proposal | None) -> str:
    if proposal is None:
        return ""
    line = getattr(proposal, "line", None)
    return (
        str(line)
        if line is not None
        else f"{getattr(proposal, 'tool', '')} {getattr(proposal, 'arguments', '')}"
    )
