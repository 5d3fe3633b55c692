"""A terminal shows budgets as bars below the conversation, and nothing is in the way of a question."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.budget_state import BudgetExceeded
from agent_runner.cli.live import LiveWatcher, StillAsker, watcher_for_terminal
from agent_runner.cli.talk import PlainWatcher
from tests.agent_runner.people import DecidedPerson
from tests.agent_runner.test_webhook import QUESTION

if TYPE_CHECKING:
    import pytest

    from agent_runner.approvals import Answer
    from agent_runner.question import Question

ROOT = Path(__file__).resolve().parents[2]
STATES = [
    BudgetExceeded(name="turns", bound=60, observed=30, unit="turns"),
    BudgetExceeded(name="tokens", bound=400_000, observed=1, unit="tokens"),
    BudgetExceeded(name="actions", bound=5000, observed=7, unit="actions"),
    BudgetExceeded(name="bytes sent", bound=2**20, observed=1536, unit="bytes"),
    BudgetExceeded(name="bytes received", bound=2**20, observed=0, unit="bytes"),
]
SHOW = """
import sys
from agent_runner.backends.backend import Reply
from agent_runner.cli.live import watcher_for_terminal
from agent_runner.cli.talk import say
from tests.agent_runner.test_live_view import STATES
watcher = watcher_for_terminal()
watcher.follow(lambda: STATES)
say("a line of the conversation")
watcher.below("ba9876543210", "look \\x1b[2J").said(1, Reply(text="hi"))
watcher.close()
say("the end")
"""


def test_the_footer_has_bars_egress_and_time_and_fits_80_columns() -> None:
    watcher = LiveWatcher(monotonic=iter([0.0, 65.0]).__next__)
    watcher._states = lambda: STATES

    assert watcher._drawn().plain.splitlines() == [
        "[######......]  50%  turns: 30 of 60",
        "[#...........]   0%  tokens: 1 of 400k",
        "elapsed 1m 5s   egress 1.5 KiB sent, 0 B received",
    ]


def test_a_terminal_shows_it_live_and_keeps_only_the_conversation() -> None:
    """On a real pseudo-terminal; what an agent chose is escaped, the cursor is there again."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(
        [sys.executable, "-c", SHOW],
        cwd=ROOT,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 65536):
                shown += piece
        except OSError:  # the terminal's other side is closed
            pass
    os.close(leader)

    text = shown.decode()
    assert process.returncode == 0, text
    assert "[######......]  50%  turns: 30 of 60" in text
    assert "a line of the conversation" in text
    assert "look \\x1b[2J" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.rstrip().endswith("the end")


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert type(watcher_for_terminal()) is PlainWatcher


async def test_the_footer_is_away_while_a_person_is_asked() -> None:
    class Looking(DecidedPerson):
        async def ask(self, question: Question) -> Answer:
            shown.append(watcher._footer.is_shown)
            return await super().ask(question)

    shown: list[bool] = []
    watcher = LiveWatcher()
    watcher.follow(lambda: STATES)
    try:
        answer = await StillAsker(Looking("approved"), watcher).ask(QUESTION)
        shown.append(watcher._footer.is_shown)
    finally:
        watcher.close()

    assert (answer.verdict, shown) == ("approved", [False, True])
