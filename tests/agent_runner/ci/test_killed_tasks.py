"""Runs and tasks that are killed: the others go on, nothing is left, and what was not come to can be run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.ci.reading import read_tasks, tasks_meant
from agent_runner.state_label import state_label
from agent_runner.trust import trust
from tests.promises.pairlock import pairlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agent_runner.ci.task_stand import Project

pytestmark = pytest.mark.engine
LONG = "[\"run sh -c 'sleep 600'\"]"
FINISH = '["finish --status done ok"]'


@pytest.fixture
def state(new_state: Callable[[], Path]) -> Path:
    return new_state()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for temporary files that nobody else has."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def started(project: Project, state: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start runs of all tasks, and end what is left of them."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        for task in read_tasks(tasks_meant([str(project.folder / "tasks")])):
            trust(state, task.closure)
        tasks, results = str(project.folder / "tasks"), str(project.folder / "results")
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "agent_runner", "ci", tasks, "-o", results, "--json", *words],
                env={**os.environ, "PAIRLOCK_STATE": str(state)},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.communicate()


def until(holds: Callable[[], bool], seconds: float = 180) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def two_tasks(project: Project) -> None:
    """Write a task that sleeps and one that passes."""
    project.script(LONG, FINISH)
    project.script(FINISH, name="quick.yaml")
    project.task(name="long")
    quick = project.task(name="quick")
    quick.write_text(quick.read_text().replace("script.yaml", "quick.yaml"))


def works(state: Path) -> bool:
    """Tell whether a program runs in a sandbox."""
    return any(b"process.started" in log.read_bytes() for log in state.glob("sessions/*/events.jsonl"))


def runners(run: int) -> dict[int, str]:
    """Return the processes of cases below a run: their ids, and the cases that they are about."""
    found = {}
    for child in Path(f"/proc/{run}/task/{run}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        orders = [word.decode() for word in words if word.endswith(b".order.json")]
        if orders:
            found[int(child)] = Path(orders[0]).name.removesuffix(".order.json")
    return found


def containers(state: Path) -> list[str]:
    label = f"label=io.pairlock.state={state_label(state)}"
    said = subprocess.run(
        ["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True
    )
    return said.stdout.split()


def by_name(text: str) -> dict[str, Any]:
    return {task["name"]: task for task in json.loads(text)["tasks"]}


def test_a_runner_that_is_killed_fails_its_task_alone_and_leaves_nothing(
    project: Project, state: Path, temporary: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    two_tasks(project)
    run = started("--jobs", "2")
    until(lambda: works(state) and "long" in runners(run.pid).values())

    os.kill(next(pid for pid, case in runners(run.pid).items() if case == "long"), signal.SIGKILL)
    told, errors = run.communicate(timeout=240)

    tasks = by_name(told)
    assert run.returncode == 1, errors
    assert (tasks["quick"]["verdict"], tasks["long"]["verdict"]) == ("passed", "failed")
    assert tasks["long"]["reason"] == "its runner was ended by SIGKILL"
    assert tasks["long"]["session"]
    assert (project.folder / "results/long/ledger.tar.gz").exists()
    assert containers(state) == []
    assert not list(temporary.iterdir())


def test_a_run_that_is_killed_leaves_nothing_and_goes_on_with_what_it_did_not_come_to(
    project: Project, state: Path, temporary: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    """The run alone gets SIGKILL: its runners notice, end in order, and the same results folder goes on."""
    two_tasks(project)
    results = project.folder / "results"
    run = started("--jobs", "2")
    until(lambda: works(state) and (results / ".run/quick.result.json").exists())

    run.kill()
    run.communicate()
    until(lambda: containers(state) == [])
    project.script(FINISH)
    before = json.loads((results / ".run/quick.result.json").read_text())
    again = started("--resume")
    told, errors = again.communicate(timeout=240)

    assert again.returncode == 0, errors
    tasks = by_name(told)
    assert [tasks[name]["verdict"] for name in ("long", "quick")] == ["passed", "passed"]
    assert tasks["quick"]["session"] == before["session"]
    assert "1 of them done before" in errors
    assert not list(temporary.iterdir())
    assert json.loads((results / "results.json").read_text())["exit_code"] == 0


def test_a_run_of_other_tasks_does_not_go_on_in_its_folder(project: Project, state: Path) -> None:
    project.script(FINISH)
    path = project.task()
    results, words = project.folder / "results", ["ci", str(project.folder / "tasks"), "-o"]
    trust(state, read_tasks([path])[0].closure)
    first = pairlock(*words, str(results), state=state)
    path.write_text(path.read_text().replace("mend it", "mend it all"))
    trust(state, read_tasks([path])[0].closure)

    other = pairlock(*words, str(results), "--resume", state=state)
    none = pairlock(*words, str(project.folder), "--resume", state=state)

    assert first.returncode == 0, first.stderr
    assert (other.returncode, none.returncode) == (2, 2)
    assert "is another one: `mend` is not as it was" in other.stderr
    assert "holds no run that could go on" in none.stderr


def test_a_failure_is_tried_again_as_often_as_the_task_says_and_each_try_is_kept(
    project: Project, state: Path
) -> None:
    """A check that fails is tried again; a task that was refused is not."""
    project.script(FINISH)
    project.task("retries: 2\nchecks: {files: [{path: absent}]}\n")
    trust(state, read_tasks(tasks_meant([str(project.folder / "tasks")]))[0].closure)
    results = project.folder / "results"

    said = pairlock("ci", str(project.folder / "tasks"), "-o", str(results), "--json", state=state)

    task = by_name(said.stdout)["mend"]
    assert (said.returncode, task["attempts"]) == (1, 3)
    kept = sorted(path.name for path in results.iterdir() if path.is_dir() and path.name != ".run")
    assert kept == ["mend", "mend.attempt-1", "mend.attempt-2"]
    sessions = {json.loads((results / name / "result.json").read_text())["session"] for name in kept}
    assert len(sessions) == 3
