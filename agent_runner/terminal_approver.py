"""Ask a person at this terminal: everything that will run is shown, and `yes` is typed after it."""

from __future__ import annotations

import asyncio
import sys
import termios
from typing import TYPE_CHECKING, Final

from agent_runner.approvals import WAIT_SECONDS, Answer
from agent_runner.person import who
from agent_runner.question import question_lines

if TYPE_CHECKING:
    from agent_runner.question import Question

PAUSE_SECONDS: Final = 1.0
"""Before a question that follows a withdrawn one."""


class TerminalApprover:
    """Ask at the terminal."""

    def __init__(self) -> None:
        self._is_withdrawn = False

    async def ask(self, question: Question) -> Answer:
        """Show the whole command line and wait for `yes`, typed after it was shown.

        A question that follows one that was withdrawn comes after a pause: what is being typed is no answer.
        """
        if self._is_withdrawn:
            await asyncio.sleep(PAUSE_SECONDS)
            self._is_withdrawn = False
        try:
            _show(question)
        except OSError:  # nobody can read it here, so nobody answers here
            return Answer(verdict="timed_out", by="nobody", via="clock")
        try:
            said = await _line_within(WAIT_SECONDS)
        except asyncio.CancelledError:
            self._is_withdrawn = True
            print(
                "\n(withdrawn: the program that asked has gone, or it was answered elsewhere)",
                file=sys.stderr,
            )
            raise
        if not (said or "").endswith("\n"):  # the time is over, or Ctrl-D was typed: the line is still open
            print(file=sys.stderr)
        if said is None:
            return Answer(verdict="timed_out", by="nobody", via="clock")
        return Answer(verdict="approved" if said.strip() == "yes" else "denied", by=who(), via="terminal")


def _show(question: Question) -> None:
    """Show a question; what was typed before its last line stood there is thrown away."""
    for line in question_lines(question, on=sys.stderr):
        print(line, file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.isatty():
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    print("type yes to allow it once: ", end="", file=sys.stderr, flush=True)


async def _line_within(seconds: float) -> str | None:
    """Read a line from the terminal, None when the time is over."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()
    descriptor = sys.stdin.fileno()

    def read() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(descriptor, read)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.wait({line})
    except TimeoutError:
        pass
    except asyncio.CancelledError:  # a no that was typed counts, though somebody elsewhere answered with it
        if not line.done():
            raise
    finally:
        loop.remove_reader(descriptor)
    return line.result() if line.done() else None
