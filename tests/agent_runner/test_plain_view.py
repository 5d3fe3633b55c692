"""What a person sees while a session runs stays in its columns, whatever the agent and its programs say."""

from __future__ import annotations

from unicodedata import east_asian_width

import pytest

from agent_runner.cli.folding import cut
from agent_runner.cli.talk import PlainWatcher
from cli_tools.observation import Observation
from tests.agent_runner.stand import lines

COLUMNS = 80


def width(line: str) -> int:
    """Return the columns that a line takes."""
    return sum(2 if east_asian_width(each) in "WF" else 1 for each in line)


@pytest.mark.parametrize("columns", [30, 40, 78])
@pytest.mark.parametrize("letters", ["a", "漢", "漢a"])
def test_a_line_that_is_cut_fits_with_its_count(letters: str, columns: int) -> None:
    """A wide character takes two columns: counted as one, the line would run on into the next."""
    line = letters * 100

    shown = cut(line, columns=columns)

    kept, _, missing = shown.partition("... (")
    assert width(shown) <= columns
    assert line.startswith(kept)
    assert missing == f"{len(line) - len(kept)} more characters)"
    assert cut(line[:5], columns=columns) == line[:5]


def test_a_sessions_view_stays_within_its_columns_and_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = PlainWatcher("    ")
    words = "漢字 and a long sentence \x1b[31m" * 20

    watcher.said(1, lines(f"run {words}", text=words))
    watcher.saw(Observation(kind="done", text=f"{words}\n{words}", command="run"))
    watcher.below("0123456789ab", words)

    shown = capsys.readouterr().err.splitlines()
    assert max(map(width, shown)) <= COLUMNS
    assert not any("\x1b" in line for line in shown)
    assert any("more characters)" in line for line in shown)
