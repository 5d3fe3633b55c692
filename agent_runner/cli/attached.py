"""Put a running session's questions to whoever is attached to it, while its entries go by."""

from __future__ import annotations

import select
import sys
import termios
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TextIO

from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.cli.live import LiveWatcher


def question_of(session: str) -> Mapping[str, Any] | None:
    """Return what a running session waits for; None when nothing, or when its runner has gone.

    Args:
        session: The whole id.
    """
    from agent_runner.door import tell
    from agent_runner.errors import InvalidInputError, MuteRunnerError

    try:
        question = tell(session, do="status").get("question")
    except (InvalidInputError, MuteRunnerError):
        return None
    return question if isinstance(question, dict) else None


def shown_question(question: Mapping[str, Any], *, on: TextIO) -> list[str]:
    """Return a question as its runner told it, escaped there: whole, content before the command.

    Args:
        question: Its fields.
        on: Where it will be shown.
    """
    from agent_runner.question import asked_lines

    return [f"action {question['action']}", *asked_lines(question, on=on)]


class AttachedPerson:
    """Show each question once and take the line that is typed after it for its answer.

    Args:
        session: The whole id.
        live: What shows the session meanwhile; None where nothing stands below its lines.

    Raises:
        InvalidInputError: When nobody sits at this terminal.
    """

    def __init__(self, session: str, live: LiveWatcher | None = None) -> None:
        from agent_runner.errors import InvalidInputError

        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InvalidInputError(
                "`--answer` needs a terminal to ask at", hint="`pairlock approve ID` and `deny ID` need none"
            )
        self._session = session
        self._live = live
        self._hidden = ExitStack()
        self._shown: Mapping[str, Any] | None = None

    def wait(self, seconds: float) -> None:
        """Look for a question, and wait for what is typed; what was typed before a question answers none."""
        question = question_of(self._session)
        if question != self._shown:
            self._show(question)
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if ready:
            self._answer(sys.stdin.readline())

    def _show(self, question: Mapping[str, Any] | None) -> None:
        if self._shown is not None:
            say("(no longer asked: it was answered elsewhere, or its time is over)")
        self._shown = question
        self._hidden.close()
        if question is None:
            return
        if self._live is not None:
            self._hidden.enter_context(self._live.still())
        # As it is: where `say` folds, the blanks between two rows are lost.
        print("", *shown_question(question, on=sys.stderr), sep="\n", file=sys.stderr, flush=True)
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        say("type yes to allow it once, anything else to refuse it:")

    def _answer(self, line: str) -> None:
        from agent_runner.door import tell
        from agent_runner.errors import RunnerError

        question, self._shown = self._shown, None
        self._hidden.close()
        if not line:
            raise KeyboardInterrupt  # end of input: whoever was attached has gone
        if question is None:
            return
        word = "approve" if line.strip() == "yes" else "deny"
        try:
            tell(self._session, do=word, action=question["action"], digest=question["digest"])
        except RunnerError as error:
            say(f"pairlock: {error.message}")
        else:
            say(f"{'approved' if word == 'approve' else 'denied'}: {question['action']}")
