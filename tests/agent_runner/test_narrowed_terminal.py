"""A terminal that is narrowed breaks the footer into more rows; all of them are erased, none is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live

from agent_runner.cli.live import LiveWatcher
from agent_runner.cli.redrawn import Redrawn
from tests.agent_runner.test_live_view import STATES

FOOTER_ROWS = 3
UP = "\x1b[1A\x1b[2K"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> tuple[Console, Live, io.StringIO]:
    """Return a footer that stands on a terminal of 80 columns, drawn when a test says so."""
    monkeypatch.setenv("TMUX", "a terminal that breaks lines")
    watcher = LiveWatcher(monotonic=lambda: 0.0)
    watcher._states = lambda: STATES
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"})
    redrawn = Redrawn(watcher._drawn, console)
    console.push_render_hook(redrawn)
    live = Live(redrawn, console=console, auto_refresh=False, transient=True, redirect_stdout=False)
    live.start()
    live.refresh()
    return console, live, written


def ups(console: Console, live: Live, written: io.StringIO, *, width: int) -> int:
    """Return how many rows above its last one are erased when the footer is drawn after a change of width."""
    console.width = width
    written.truncate(0)
    live.refresh()
    return written.getvalue().count(UP)


@pytest.mark.parametrize(("width", "more"), [(80, 0), (120, 0), (49, 0), (30, 3), (15, 7)])
def test_each_row_into_which_a_line_was_broken_is_erased(
    shown: tuple[Console, Live, io.StringIO], width: int, more: int
) -> None:
    """Lines of 37, 38 and 49 columns: at 30 they are six rows, at 15 ten."""
    assert ups(*shown, width=width) == FOOTER_ROWS - 1 + more
    assert ups(*shown, width=width) == FOOTER_ROWS - 1


def test_a_line_that_is_printed_meanwhile_stands_below_what_was_erased(
    shown: tuple[Console, Live, io.StringIO],
) -> None:
    """Between the narrowing and the next drawing: it is the conversation's, and stays."""
    console, _, written = shown
    console.width = 30
    written.truncate(0)
    console.print("the conversation")
    before, _, after = written.getvalue().partition("the conversation")

    assert (before.count(UP), after.count(UP)) == (FOOTER_ROWS + 2, 0)


def test_a_terminal_that_cuts_lines_off_keeps_the_conversation_above(
    shown: tuple[Console, Live, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX")
    monkeypatch.setenv("XTERM_VERSION", "XTerm(379)")

    assert ups(*shown, width=30) == FOOTER_ROWS - 1
