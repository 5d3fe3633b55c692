"""A run as it is shown: a live table in a terminal, plain lines elsewhere, agents' texts as text."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from agent_runner.ci.all import jobs_for
from agent_runner.ci.outcome import TaskResult
from agent_runner.ci.telling import heard
from agent_runner.cli.ci_shown import Lines, LiveTable, onlooker_for_terminal

if TYPE_CHECKING:
    from agent_runner.ci.telling import Onlooker

RESULT = TaskResult(name="one", task="one", origin="t.yaml", policy="p", grant="files", model="m")


def shown(table: LiveTable, width: int = 60) -> list[str]:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(table.table())
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_table_has_a_row_for_each_case_that_runs_and_counts_the_others() -> None:
    now = [0.0]
    table = LiveTable(4, monotonic=lambda: now[0])

    for case in ("one", "two"):
        table.began(case)
    table.does("one", 3, "files read app.txt")
    table.said("two", "filling the runtime volume")
    table.ended(replace(RESULT, name="zero"))
    now[0] = 20.0

    lines = shown(table)
    assert lines[0] == "1 passed, 0 failed, 2 running, 1 waiting"
    assert lines[1].split() == ["task", "time", "turn", "does"]
    assert lines[2].split() == ["one", "0m", "20s", "3", "files", "read", "app.txt"]
    assert lines[3].split() == ["two", "0m", "20s", "filling", "the", "runtime", "volume"]
    table.ended(replace(RESULT, code=1))
    assert shown(table)[0] == "1 passed, 1 failed, 1 running, 1 waiting"
    assert len(shown(table)) == 3


def test_a_narrow_terminal_cuts_rows_and_a_markup_in_them_is_text() -> None:
    table = LiveTable(1, monotonic=lambda: 0.0)
    table.began("one")
    table.does("one", 1, "[bold red]x[/] " + "y" * 200)

    row = shown(table)[2]

    assert "[bold red]x[/]" in row
    assert len(row) <= 60


def test_a_long_action_hides_neither_the_case_nor_its_time_and_turn() -> None:
    table = LiveTable(1, monotonic=lambda: 0.0)
    table.began("update-changelog")
    table.does("update-changelog", 17, "run python -c " + "y" * 300)

    head, row = shown(table, width=80)[1:]

    assert head.split() == ["task", "time", "turn", "does"]
    assert row.split()[:5] == ["update-changelog", "0m", "0s", "17", "run"]


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b'{"said": 7}\n',
        b"[]\n",
        b"\xff\x1b[2J\n",
        b'{"turn": "x", "action": "y"}\n',
        b"null\n",
    ],
)
def test_what_a_runner_prints_otherwise_is_shown_as_a_line_and_escaped(
    line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions: set[str] = set()

    heard(line, "one", Lines(), sessions)

    said = capsys.readouterr().err
    assert said.startswith("one: ")
    assert "\x1b" not in said
    assert not sessions


def test_what_a_runner_tells_reaches_the_onlooker_and_sessions_are_remembered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sessions: set[str] = set()

    for told in ({"said": "packing"}, {"session": "abc"}, {"turn": 2, "action": "files list"}):
        heard(json.dumps(told).encode(), "one", Lines(), sessions)

    assert (capsys.readouterr().err, sessions) == ("one: packing\n", {"abc"})


@pytest.mark.parametrize(("terminal", "term", "kind"), [
    (True, "xterm", LiveTable), (True, "dumb", Lines), (False, "xterm", Lines),
])  # fmt: skip
def test_only_a_terminal_that_can_show_one_gets_a_table(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, term: str, kind: type[Onlooker]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", term)

    with onlooker_for_terminal([]) as onlooker:
        assert isinstance(onlooker, kind)


def test_a_shard_without_cases_runs_none_at_once_without_asking_for_memory() -> None:
    assert jobs_for([], None) == 1
