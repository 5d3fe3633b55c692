"""Say on stderr what goes on, for a person: plain lines, everything that an agent wrote escaped."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, TextIO

from agent_runner.cli.folding import columns_of, cut, folded, wrapped
from agent_runner.columns import NARROWEST, spelled_for
from audit.escape import escape_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent_runner.backends.backend import Reply
    from cli_tools.action import Proposal
    from cli_tools.observation import Observation

WIDTH: Final = 78
_SHOWN_LINES: Final = 4
_SAID_ROWS: Final = 200
"""So many rows of what a model said in one turn are shown; the ledger has all of it."""
_REASON_LINES: Final = 8
_MOST_ROWS: Final = 4
"""So many rows, about, of a command line, and of each line that says why one was refused."""


def say(text: str = "") -> None:
    """Print to stderr; where nobody reads it any more, it is lost, and nothing else is.

    A terminal gets it folded between words at its width; whatever else reads it gets each line as one line.
    """
    try:
        lines, columns = spelled_for(sys.stderr, text).split("\n"), columns_of(sys.stderr)
        pieces = (piece for line in lines for piece in wrapped(line, columns=columns))
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
        on: Where, in place of stderr; who reads it no more is told then, by an error.
    """

    def __init__(self, indent: str = "", *, on: TextIO | None = None) -> None:
        self._indent = indent
        self._on = on
        self._proposals: list[Proposal] = []

    def said(self, turn: int, reply: Reply) -> None:
        """Show what the model said, behind a bar: none of it is taken for an action; and what it proposes."""
        self.heard(f"turn {turn}", reply.text)
        self._proposals = [call.proposal for call in reply.calls]

    def heard(self, title: str, text: str) -> None:
        """Show what somebody said behind a bar, below a line of its own."""
        self._line(title)
        rows = self._rows(text)
        for row in islice(rows, _SAID_ROWS):
            self._line(f"  | {row.rstrip()}".rstrip())
        if more := sum(1 for _ in rows):
            self._line(f"  [{more} more lines]")

    def saw(self, observation: Observation) -> None:
        """Show an action, its verdict and the beginning of what came of it; why one was refused, whole."""
        proposal = self._proposals.pop(0) if self._proposals else None
        is_refused = observation.kind != "done"
        self.noted(_MARKS[observation.kind], _line(proposal))
        shown: list[str] = []
        lines = observation.text.splitlines()
        most = _REASON_LINES if is_refused else _SHOWN_LINES
        for line in lines[:most]:
            shown += self._whole(line) if is_refused else [cut(self._spelled(line), columns=self._beside())]
        for line in shown:
            self._line(f"          {line}")
        if len(lines) > most:
            self._line(f"          [{len(lines) - most} more lines]")

    def noted(self, mark: str, text: str, reasons: Sequence[str] = ()) -> None:
        """Show one thing behind its mark, and below it why; nothing of either is taken for another one."""
        first, *further = self._whole(text)
        self._line(f"  {mark:<7} {first}".rstrip())
        for line in (*further, *(row for reason in reasons for row in self._whole(reason))):
            self._line(f"          {line}")

    def below(self, session: str, task: str) -> PlainWatcher:
        """Show that a session begins below this one, and return who looks at it, set in."""
        self.noted("below", f"session {session}: {task}")
        return PlainWatcher(f"{self._indent}    ")

    def _rows(self, text: str) -> Iterator[str]:
        columns = max(2, self._width() - len("  | "))
        for line in text.strip("\r\n").splitlines():
            yield from folded(self._spelled(line.expandtabs(4)), columns=columns, indent=0)

    def _whole(self, line: str) -> Iterator[str]:
        """Yield a line folded, and only one of very many rows cut."""
        columns = self._beside()
        shown = cut(self._spelled(line), columns=_MOST_ROWS * (columns - 2))
        for piece in wrapped(shown, columns=columns):
            yield from (row.rstrip() for row in folded(piece, columns=columns, indent=2))

    def _spelled(self, line: str) -> str:
        return spelled_for(self._on or sys.stderr, escape_line(line))

    def _beside(self) -> int:
        """Return the columns beside a mark."""
        return max(4, self._width() - 10)

    def _width(self) -> int:
        """Return the columns beside the indent: what is folded here is not folded again."""
        columns = columns_of(self._on or sys.stderr)
        return (min(WIDTH, columns) if columns >= NARROWEST else WIDTH) - len(self._indent)

    def _line(self, text: str) -> None:
        if self._on is None:
            say(f"{self._indent}{text}")
        else:
            print(f"{self._indent}{text}", file=self._on, flush=True)


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
