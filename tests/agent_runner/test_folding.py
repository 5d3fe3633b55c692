"""On a terminal a long line is folded where it can be read; nothing of it is cut, and nowhere else is it."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent_runner.cli.folding import folded, wrapped
from tests.agent_runner.report.story import ordinary

ENTRY = "    8  14:13:22.643  action.intended    allowed  run pytest -q tests/a/long/path/of/a/test_module.py"


def test_a_long_line_is_folded_at_a_space_and_stands_in() -> None:
    first, second = folded(ENTRY, columns=80, indent=9)

    assert first == "    8  14:13:22.643  action.intended    allowed  run pytest -q "
    assert second == "         tests/a/long/path/of/a/test_module.py"


@given(
    line=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Mn"]), max_size=300),
    columns=st.integers(40, 120),
)
def test_nothing_is_cut_and_no_piece_is_wider_than_the_terminal(line: str, columns: int) -> None:
    first, *more = folded(line, columns=columns, indent=9)

    assert all(piece.startswith(" " * 9) for piece in more)
    assert "".join([first, *(piece[9:] for piece in more)]) == line
    assert all(len(piece) <= columns for piece in [first, *more])


def test_spaces_at_a_fold_are_shown_as_many_as_there_are() -> None:
    """A name with spaces at its end is another name."""
    line = "x" * 60 + "rm -r a" + " " * 20 + "b"

    first, second = folded(line, columns=80, indent=9)

    assert first + second[9:] == line


def test_wide_letters_take_two_columns() -> None:
    assert [len(piece) for piece in folded("\u65e5" * 60, columns=80, indent=10)] == [40, 30]


HINT = "hint: name one, `--model scripted:FILE` (in a task file `model: scripted:FILE`), or write to the file"


def test_a_sentence_is_broken_between_words_and_what_is_quoted_stays_whole() -> None:
    assert list(wrapped(HINT, columns=60)) == [
        "hint: name one, `--model scripted:FILE` (in a task file",
        "  `model: scripted:FILE`), or write to the file",
    ]


def test_a_word_that_fits_no_line_is_left_to_the_terminal() -> None:
    path = "/a/folder" * 12

    assert list(wrapped(f"  folder {path}: is not there", columns=60)) == [
        "  folder",
        f"    {path}:",
        "    is not there",
    ]


def test_what_is_quoted_and_broken_keeps_its_spaces() -> None:
    quoted = "`files write  'a   b'  " + "x " * 30 + "end`"

    pieces = list(wrapped(f"hint: type {quoted} now", columns=40))

    first, *more = pieces
    assert quoted in first + "".join(piece[2:] for piece in more)
    assert all(len(piece) <= 40 for piece in pieces)


def test_blanks_at_the_end_take_no_time_of_their_own() -> None:
    """They took an hour: each was tried as the beginning of a word."""
    assert list(wrapped("word " * 20 + " " * 1_000_000, columns=80)) == [
        " ".join(["word"] * 16),
        "  " + " ".join(["word"] * 4),
    ]


@given(
    line=st.text(st.sampled_from("abc `日/"), max_size=300),
    blanks=st.integers(0, 100),
    columns=st.integers(0, 120),
)
def test_a_wrapped_sentence_has_the_same_words_in_their_order(line: str, blanks: int, columns: int) -> None:
    pieces = list(wrapped(line + " " * blanks, columns=columns))

    assert " ".join(pieces).split() == line.split()
    assert all(piece.strip() for piece in pieces if pieces[1:])


def test_an_error_is_folded_on_a_terminal_and_one_line_elsewhere(tmp_path: Path) -> None:
    called = [sys.executable, "-m", "agent_runner", "run", "t", "-w", str(tmp_path)]
    environment = {**os.environ, "HOME": str(tmp_path), "PAIRLOCK_STATE": str(tmp_path / "state")}
    environment.pop("COLUMNS", None)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 60))
    subprocess.run(called, stderr=theirs, env=environment, check=False, timeout=120)
    os.close(theirs)

    folded_lines = _read(ours).decode().splitlines()
    piped = subprocess.run(called, capture_output=True, text=True, env=environment, check=False, timeout=120)

    first, hint = piped.stderr.splitlines()
    assert first == "pairlock: no policy was named"
    assert folded_lines[0] == first
    assert len(folded_lines) > 2
    assert all(len(line) <= 60 for line in folded_lines)
    assert " ".join(line.strip() for line in folded_lines[1:]) == hint


def test_what_policy_check_finds_is_folded_as_an_error_is(tmp_path: Path) -> None:
    """Between words, and not within backticks; `COLUMNS` counts for both."""
    (tmp_path / "p.yaml").write_text("version: 1\nname: p\ngrant: [files]\nwhat no policy has in it: 1\n")
    called = [sys.executable, "-m", "agent_runner", "policy", "check", "p.yaml"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "HOME": str(tmp_path), "COLUMNS": "40", "PYTHONPATH": str(Path.cwd())}
    subprocess.run(called, stdout=theirs, env=environment, cwd=tmp_path, check=False, timeout=120)
    os.close(theirs)

    assert _read(ours).decode().splitlines()[:2] == [
        "p.yaml:4:1: key",
        "  `what no policy has in it` is not",
    ]


def shown_on_a_terminal(state: Path, columns: int) -> list[str]:
    parent, child = pty.openpty()
    environment = os.environ | {"PAIRLOCK_STATE": str(state), "COLUMNS": str(columns)}
    command = [sys.executable, "-m", "agent_runner", "audit", "show", "last"]
    with subprocess.Popen(command, stdout=child, stderr=child, env=environment) as running:
        os.close(child)
        text = b""
        while piece := _read(parent):
            text += piece
        assert running.wait(60) == 0
    os.close(parent)
    return text.decode().splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so when the other end is closed
        return b""


def test_a_megabyte_is_folded_as_well() -> None:
    assert sum(1 for _ in folded("x" * 1_000_000, columns=80, indent=9)) == 14_085


def test_a_session_is_shown_within_a_terminal_and_whole_in_a_pipe(tmp_path: Path) -> None:
    state = tmp_path / "state"
    asyncio.run(ordinary(state))
    command = [sys.executable, "-m", "agent_runner", "audit", "show", "last"]
    environment = os.environ | {"PAIRLOCK_STATE": str(state), "COLUMNS": "80"}

    terminal = shown_on_a_terminal(state, 80)
    piped = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert max(map(len, terminal)) <= 80
    assert max(map(len, piped.splitlines())) > 200
    assert "".join(terminal).replace(" ", "") == piped.replace("\n", "").replace(" ", "")
