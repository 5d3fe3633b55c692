"""Two runs side by side: what is worse is told and fails, chance is not taken for it, pages reach nothing."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.ci.compare_told import compare_lines, compare_page
from agent_runner.ci.comparing import compared, is_worse
from agent_runner.ci.outcome import TaskResult
from agent_runner.ci.summary import as_plain
from agent_runner.errors import InvalidInputError
from tests.agent_runner.ci.task_stand import pairlock

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e##[error]x"


def result(task: str, code: int = 0, *, number: int = 0, variant: str = "", **more: Any) -> TaskResult:
    name = f"{task}.{number}" if number else task
    given: dict[str, Any] = {"seconds": 12.5, "tokens": 1200, "turns": 3, "cost_micros": 4000, **more}
    return TaskResult(
        name=name, task=task, variant=variant, origin="t.yaml", policy="p", grant="files", model="m",
        session="s" * 12, status="done", code=code, **given,
    )  # fmt: skip


def folder(place: Path, *results: TaskResult) -> Path:
    place.mkdir()
    (place / "results.json").write_text(json.dumps(as_plain(results)))
    return place


def repeated(task: str, passed: int, runs: int) -> list[TaskResult]:
    return [result(task, 0 if n < passed else 1, number=n + 1) for n in range(runs)]


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ([result("t")], [result("t")], "same"),
        ([result("t")], [result("t", 1)], "worse"),
        ([result("t", 5)], [result("t", 1)], "same"),
        ([result("t", 1)], [result("t")], "better"),
        ([result("t")], [result("t", 130)], "gone"),
        ([result("t")], [result("t", is_skipped=True)], "gone"),
        ([result("t")], [result("u"), result("t")], "same"),
        (repeated("t", 6, 10), repeated("t", 5, 10), "same"),
        (repeated("t", 19, 20), repeated("t", 2, 20), "worse"),
        (repeated("t", 1, 20), repeated("t", 18, 20), "better"),
        (repeated("t", 10, 10), repeated("t", 9, 10), "worse"),
    ],
)
def test_what_always_passed_or_fell_beyond_chance_is_worse(
    tmp_path: Path, before: list[TaskResult], after: list[TaskResult], change: str
) -> None:
    rows = compared(folder(tmp_path / "a", *before), folder(tmp_path / "b", *after))

    assert rows[0].change == change
    assert is_worse(rows) == (change in {"worse", "gone"})
    assert [row.change for row in rows[1:]] == ["new"] * (len(rows) - 1)


def test_the_command_tells_both_in_tables_of_80_columns_and_ends_with_1_when_one_is_worse(
    tmp_path: Path,
) -> None:
    long = "a-task-with-a-long-name-that-does-not-fit-anywhere"
    first = folder(
        tmp_path / "a", result("t"), result(long, tokens=10**9, cost_micros=10**9), *repeated("r", 7, 9)
    )
    second = folder(tmp_path / "b", result("t", 1), result(long), *repeated("r", 8, 9))

    same, worse = pairlock("compare", first, first), pairlock("compare", first, second)

    assert (same.exit_code, worse.exit_code) == (0, 1)
    lines = worse.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["worse", "t", "1", "of", "1", "->", "0", "of", "1"]
    assert any(line.endswith("8 of 9    57% to 98%") for line in lines)
    assert lines[-1] == "1 worse, 2 same"
    assert same.stdout.splitlines()[-1] == "3 same"
    told = json.loads(pairlock("compare", first, second, "--json").stdout)
    assert [case["change"] for case in told["cases"]] == ["worse", "same", "same"]
    assert told["cases"][0]["after"]["passed"] == 0


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '{"version": 2, "tasks": []}', '{"version": 1, "tasks": [{"task": "t"}]}', "\x00",
     json.dumps({"version": 1, "tasks": [
         {"task": "t", "variant": "", "verdict": "passed", "exit_code": 0, "seconds": float("nan"),
          "turns": 0, "tokens": 0, "cost_micros": 0}]})],
)  # fmt: skip
def test_a_folder_without_results_is_told_in_one_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = folder(tmp_path / "a", result("t")), folder(tmp_path / "b")
    (bad / "results.json").write_text(text)

    for words in ((good, bad), (bad, good), (good, tmp_path / "none")):
        said = pairlock("compare", *words)
        assert said.exit_code == 2
        line, hint, rest = capsys.readouterr().err.split("\n")
        assert line.startswith("pairlock: `")
        assert (hint, rest) == ("hint: name the `--output` folder of a run that has ended", "")


def test_names_act_neither_in_a_terminal_nor_in_the_page_which_reaches_nothing(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", result(HOSTILE)), folder(tmp_path / "b", result(HOSTILE, 1))
    rows = compared(a, b)

    page = html.unescape(raw := compare_page(rows, before=HOSTILE, after=str(b)))

    for line in compare_lines(rows):
        assert not re.search(r"[\x00-\x1f\u202e]|##", line)
    assert "<script" not in raw
    assert not {"\x1b", "\u202e"} & set(page)
    assert "default-src 'none'; style-src 'sha256-" in page
    assert not re.search(r"(src|href|url)\s*[=(]", page.replace("default-src 'none'", ""))
    assert page.count("<figure>") == 4
    assert page.count("<circle") == 2


def test_a_page_is_written_and_one_that_cannot_be_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = folder(tmp_path / "a", result("t"))

    good = pairlock("compare", a, a, "--html", tmp_path / "c.html")
    bad = pairlock("compare", a, a, "--html", tmp_path / "none/c.html")

    assert (good.exit_code, bad.exit_code) == (0, 2)
    assert "<svg" in (tmp_path / "c.html").read_text()
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [("tokens", "1" * 400), ("turns", "9007199254740993"), ("seconds", "1e308"), ("cost_micros", "1" * 5000)],
)
def test_numbers_that_no_run_comes_to_are_one_line(tmp_path: Path, key: str, value: str) -> None:
    place = folder(tmp_path / "a", result("t"), result("u"))
    file = place / "results.json"
    file.write_text(re.sub(f'"{key}": [0-9.]+', f'"{key}": {value}', file.read_text()))

    with pytest.raises(InvalidInputError, match="holds no results of version 1"):
        compared(place, place)


def test_a_text_that_is_none_is_compared(tmp_path: Path) -> None:
    """Python writes half of a UTF-16 pair as JSON may spell it."""
    place = folder(tmp_path / "a", result("t", reason="a\udc80"))

    assert [row.change for row in compared(place, place)] == ["same"]
