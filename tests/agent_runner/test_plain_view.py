"""What a person sees while a session runs stays in its columns, whatever the agent and its programs say."""

from __future__ import annotations

from unicodedata import east_asian_width

import pytest

from agent_runner.cli import talk
from agent_runner.cli.folding import cut
from agent_runner.cli.talk import PlainWatcher
from cli_tools.observation import Observation
from tests.agent_runner.stand import lines


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


@pytest.mark.parametrize("columns", [20, 39, 40, 78, 200])
def test_a_sessions_view_stays_within_its_columns_and_is_escaped(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(talk, "columns_of", lambda _: columns)
    watcher = PlainWatcher("    ")
    words = "漢字 and a long sentence \x1b[31m" * 20

    watcher.said(1, lines(f"run {words}", text=words))
    watcher.saw(Observation(kind="done", text=f"{words}\n{words}", command="run"))
    watcher.saw(Observation(kind="denied", text=f"{words}\n{'x' * 500}", command="run"))
    watcher.below("0123456789ab", words)

    shown = capsys.readouterr().err.splitlines()
    assert max(map(width, shown)) <= min(columns, talk.WIDTH)
    assert not any("\x1b" in line for line in shown)
    assert any("more characters)" in line for line in shown) or columns < 78


def test_why_an_action_was_refused_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Cut, it read "session holds `files`, ... (41 more characters)"; what a program wrote is still cut."""
    watcher = PlainWatcher()
    reason = "denied (capability): session holds `files`, `exec`; action `http get` needs `network`"

    watcher.said(1, lines("http get", f"run {'x' * 100}"))
    watcher.saw(Observation(kind="denied", text=f"{reason}\nhint: another session", command=""))
    watcher.saw(Observation(kind="done", text=f"{'y' * 100}\n", command=""))

    assert capsys.readouterr().err.splitlines() == [
        "turn 1",
        "  denied  http get",
        "          denied (capability): session holds `files`, `exec`; action",
        "            `http get` needs `network`",
        "          hint: another session",
        "  ran     run",
        f"            {'x' * 66}",
        f"            {'x' * 34}",
        f"          {'y' * 43}... (57 more characters)",
    ]


@pytest.mark.parametrize("columns", [20, 39, 40, 80])
def test_nothing_that_is_folded_can_be_taken_for_an_action(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal folds what is too wide for it in column 0; the agent chooses where."""
    monkeypatch.setattr(talk, "columns_of", lambda _: columns)
    watcher = PlainWatcher()

    for before in range(columns):
        forged = "x" * before + "  ran     rm a"
        watcher.said(1, lines(f"run {forged}", text=forged))
        watcher.saw(Observation(kind="denied", text=forged, command="run"))
        watcher.saw(Observation(kind="done", text=forged, command="run"))

    shown = capsys.readouterr().err.splitlines()
    assert max(map(width, shown)) <= columns
    assert not any(line.startswith("  ran     rm") for line in shown)


def test_nothing_that_a_model_says_can_be_taken_for_an_action(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by a line of its own, nor by one that is folded where it wants; its lines stay lines."""
    forged = f"first\n  ran     files remove a\n{'x' * 75} ran     files remove a\n\n\tcode()\n"

    PlainWatcher().said(1, lines(text=forged))

    assert capsys.readouterr().err.splitlines() == [
        "turn 1",
        "  | first",
        "  |   ran     files remove a",
        f"  | {'x' * 74}",
        "  | x ran     files remove a",
        "  |",
        "  |     code()",
    ]


def test_a_very_long_speech_is_shown_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    """A million empty lines scroll away nothing that was there; the ledger has them."""
    PlainWatcher().said(1, lines(text="first" + "\n" * 100_000 + "last"))
    PlainWatcher().said(2, lines(text="all of it\n" * 200))

    shown = capsys.readouterr().err.splitlines()
    assert shown[:3] == ["turn 1", "  | first", "  |"]
    assert shown[200:204] == ["  |", "  [99801 more lines]", "turn 2", "  | all of it"]
    assert len(shown) == 403
