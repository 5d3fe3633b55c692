"""No run ends with 1 without a line that says why, whatever its output leads to."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.keeping import Kept
from agent_runner.ci.outcome import TaskResult
from agent_runner.cli.ci_written import print_results
from tests.agent_runner.ci.task_stand import pairlock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agent_runner.ci.task_stand import Project

RESULT = TaskResult(name="t", origin="t.yaml", policy="p", grant="files", model="m", status="done")
OTHER_PIPE = """
import os, sys
import agent_runner.cli.main as main
from agent_runner.cli.commands import app_of

def broken() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.write({descriptor}, b"x")
    sys.stdout.flush()

app = app_of([])
app.command("broken")(broken)
main._app = lambda _: app
sys.argv[1:] = ["broken"]
main.main()
"""


REFUSED = """
import sys
from agent_runner.cli.exits import leave
from agent_runner.errors import RefusedError

sys.exit(leave(RefusedError("no")))
"""
ANNOTATED = """
import sys
from pathlib import Path
from agent_runner.ci.findings import findings_of
from agent_runner.ci.outcome import TaskResult
from agent_runner.cli.ci_written import print_annotations

result = TaskResult(name="t", origin="t.yaml", policy="p", grant="files", model="m", agent_code=6, code=6)
print_annotations(findings_of([result], Path("/nowhere")), asked=True)
sys.exit(result.code)
"""


@contextmanager
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a stdout whose reader has gone; in the test itself, for pytest sets its own between phases."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("code", [0, 5])
def test_what_nobody_reads_any_more_is_said_to_be_kept(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    as_json: object,
) -> None:
    result = TaskResult(name="t", origin="t.yaml", policy="p", grant="files", model="m", code=code)

    with unread(monkeypatch):
        ended = print_results([result], Kept(tmp_path), as_json=bool(as_json))

    assert ended == (code or 1)
    said = capsys.readouterr().err
    assert said == f"pairlock: what came of the tasks cannot be printed: broken pipe; it is in {tmp_path}\n"


def test_what_is_read_is_printed_and_ends_with_the_runs_own_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = print_results([RESULT], Kept(tmp_path), as_json=False)

    assert ended == 0
    told = capsys.readouterr()
    assert told.out.endswith("1 passed, 0 failed, 0 skipped\n")
    assert told.err == ""


@pytest.mark.parametrize(("descriptor", "said"), [("writing", "pairlock: broken pipe\n"), ("1", "")])
def test_a_pipe_that_breaks_is_told_unless_it_is_our_own_output(descriptor: str, said: str) -> None:
    """An engine that went away ended a run with 1 and nothing printed, as a reader does."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", OTHER_PIPE.format(descriptor=descriptor)],
            stdout=subprocess.PIPE if said else writing, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)

    assert (ended.returncode, ended.stderr) == (1, said)


@pytest.mark.parametrize(("came", "ends"), [(0, 2), (6, 6)])
def test_what_cannot_be_written_is_said_and_weighs_less_than_what_came_of_the_tasks(
    project: Project, monkeypatch: pytest.MonkeyPatch, came: int, ends: int
) -> None:
    """A ledger that does not verify was told as a copy without a folder."""
    folder = project.folder / "gone"
    folder.mkdir()

    def run(*_: object, **__: object) -> tuple[TaskResult, ...]:
        folder.rmdir()
        return (replace(RESULT, code=came),)

    monkeypatch.setattr("agent_runner.cli.ci_running.chosen_cases", lambda _: ([], project.folder / "state"))
    monkeypatch.setattr("agent_runner.cli.ci_running.run_chosen", run)
    result = pairlock("run", "t", "-o", project.folder / "results", "--junit", folder / "junit.xml")

    assert result.exit_code == ends
    assert "junit.xml` cannot be written" in result.stderr
    assert "1 passed" in result.stdout or "1 failed" in result.stdout
    assert (project.folder / "results/results.json").exists()


@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-"])
def test_an_error_that_nobody_reads_keeps_its_code(redirected: str) -> None:
    words = ["bash", "-c", f'{sys.executable} -c "$1" {redirected}', "x", REFUSED]

    assert subprocess.run(words, capture_output=True, check=False).returncode == 3


def test_annotations_that_nobody_reads_keep_the_runs_code() -> None:
    """They are printed last: the code that follows is still the tasks'."""
    words = ["bash", "-c", f'{sys.executable} -c "$1" 2>/dev/full', "x", ANNOTATED]

    assert subprocess.run(words, capture_output=True, check=False).returncode == 6
