"""Whole tasks on a real engine: what an agent did, what the checks found, what was kept, and what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from agent_runner.ci.reading import read_tasks, tasks_meant
from agent_runner.lineage import endorse, labels_of
from agent_runner.lineage_places import unreviewed
from agent_runner.trust import trust
from sandbox.workspace import identity_of
from tests.agent_runner.ci.task_stand import TASK
from tests.promises.pairlock import pairlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent_runner.ci.task_stand import Project

pytestmark = pytest.mark.engine
MENDED = '["files write app.txt --content mended"]'
FINISH = '["finish --status done ok"]'
SAME = "checks: {commands: [{run: [cmp, app.txt, tests/test_app.txt]}]}\n"
COMPARES = """\
version: 1
name: mend
grant: [files, exec]
exec: {programs: [sh, cmp, python3]}
commands: {allow: ["files *", run]}
"""


def ran(project: Project, state: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """Trust every task, run all of them, and return what came of them by name."""
    for task in read_tasks(tasks_meant([str(project.folder / "tasks")])):
        trust(state, task.closure)
    folder = project.folder / "results"
    said = pairlock("ci", str(project.folder / "tasks"), "-o", str(folder), "--json", *words, state=state)
    assert said.returncode == code, said.stdout + said.stderr
    return {task["name"]: task for task in json.loads(said.stdout)["tasks"]}


def verdicts(task: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in task["checks"]}


@pytest.fixture
def state(new_state: Callable[[], Path]) -> Path:
    return new_state()


def test_a_task_passes_when_its_checks_hold_on_what_the_agent_left_and_fails_when_they_do_not(
    project: Project, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same checks, an agent that mended it and one that only says so; what is kept proves itself."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    project.write("policies/mend.yaml", COMPARES)
    project.script(MENDED, FINISH)
    project.script(FINISH, name="idle.yaml")
    checks = SAME.removesuffix("}\n") + ', unchanged: ["tests/**"], max_denials: 0, no_egress: true}\n'
    project.task(checks)
    idle = project.task(checks, name="idle")
    idle.write_text(idle.read_text().replace("script.yaml", "idle.yaml"))

    results = ran(project, state, code=1)

    command = "command: cmp app.txt tests/test_app.txt"
    held = dict.fromkeys(("unchanged: tests/**", "steering", "max_denials", "no_egress"), "passed")
    assert verdicts(results["mend"]) == {**held, command: "passed"}
    assert verdicts(results["idle"]) == {**held, command: "failed"}
    assert (results["mend"]["verdict"], results["idle"]["verdict"]) == ("passed", "failed")
    assert "exit code 1" in results["idle"]["checks"][-1]["why"]
    assert (project.workspace / "app.txt").read_text() == "broken\n"
    kept = project.folder / "results"
    patch = (kept / "mend/changes.patch").read_bytes()
    assert b"Pairlock-Unreviewed: files\n" in patch
    assert b"\n+mended" in patch
    assert {path.name for path in (kept / "mend").iterdir()} == {
        "changes.patch", "checkpoint", "ledger.tar.gz", "report.html", "result.json",
    }  # fmt: skip
    with tarfile.open(kept / "mend/ledger.tar.gz") as bundle:
        bundle.extractall(project.folder / "unpacked", filter="data")
    verified = subprocess.run(
        [sys.executable, "-I", str(project.folder / "unpacked/bundle/verify.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr
    suites = ET.parse(kept / "junit.xml").getroot()  # noqa: S314 - pairlock wrote it
    assert (suites.get("tests"), suites.get("failures")) == ("14", "1")
    assert "**failed**" in (kept / "summary.md").read_text()
    labels = pairlock("audit", "verify", "--all", state=state)
    assert labels.returncode == 0, labels.stdout
    assert not list(temporary.iterdir())


def test_an_agent_reaches_neither_the_check_nor_its_environment(project: Project, state: Path) -> None:
    """What it planted beside the workspace is gone, and one check's writes do not reach the next."""
    project.write("policies/mend.yaml", COMPARES)
    project.write("project/plant.sh", "mkdir $HOME/bin && echo 'exit 0' >$HOME/bin/cmp; test -d $HOME/bin\n")
    project.script('["run sh plant.sh"]', '["files write tests/test_app.txt --content broken"]', FINISH)
    project.task(
        "checks:\n"
        "  commands:\n"
        "    - run: [sh, -c, 'test ! -e $HOME/bin && echo spoilt >app.txt']\n"
        "    - run: [sh, -c, 'test \"$(cat app.txt)\" = broken']\n"
        "    - run: [sh, plant.sh]\n"
        '  unchanged: ["tests/**"]\n'
    )

    task = ran(project, state, code=1)["mend"]

    assert [check["verdict"] for check in task["checks"]] == ["failed", *["passed"] * 4], task
    assert task["checks"][0]["why"] == "changed: tests/test_app.txt"
    assert task["denials"] == 0
    assert len({task["session"], *(check["session"] for check in task["checks"])} - {""}) == 4


def test_a_session_that_stops_without_finishing_fails_and_is_not_checked(
    project: Project, state: Path
) -> None:
    project.script('["files list ."]', "[]")
    project.task('checks: {commands: [{run: [sh, -c, "exit 0"]}]}\n')

    task = ran(project, state, code=1)["mend"]

    assert (task["status"], task["verdict"]) == ("done", "failed")
    assert task["checks"][0]["verdict"] == "skipped"


def test_an_interrupt_closes_what_runs_in_order_starts_nothing_more_and_still_tells_it(
    project: Project, state: Path
) -> None:
    """Ctrl-C: exit 130, every ledger closed and kept, no container left."""
    project.script("[\"run sh -c 'sleep 600'\"]", FINISH)
    for name in ("one", "two"):
        trust(state, read_tasks([project.task(name=name)])[0].closure)
    results = project.folder / "results"
    words = ["ci", str(project.folder / "tasks"), "-o", str(results), "--jobs", "1"]
    running = subprocess.Popen(
        [sys.executable, "-m", "agent_runner", *words],
        env={**os.environ, "PAIRLOCK_STATE": str(state)},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    logs = state / "sessions"
    until(lambda: any(b"process.started" in log.read_bytes() for log in logs.glob("*/events.jsonl")))

    running.send_signal(signal.SIGINT)

    assert running.wait(120) == 130
    told = json.loads((results / "results.json").read_text())
    assert [(task["verdict"], task["exit_code"]) for task in told["tasks"]] == [
        ("failed", 130),
        ("skipped", 0),
    ]
    assert told["tasks"][0]["verifies"]
    assert (results / "one/ledger.tar.gz").exists()
    assert pairlock("audit", "verify", "--all", state=state).returncode == 0


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


FETCHES = """\
version: 1
name: fetch
grant: [files, network]
commands: {allow: ["files *", "http *"]}
network: {allow: [{host: example.invalid}]}
"""


def test_what_one_task_fetched_and_left_as_its_output_another_does_not_run_before_a_review(
    project: Project, state: Path
) -> None:
    """A copy that pairlock makes has the label of what it was made of, in whatever folder it lies by then."""
    project.write("policies/fetch.yaml", FETCHES)
    project.script(
        '["http get https://example.invalid/tool.sh"]', '["files write tool.sh --content id"]', FINISH
    )
    fetch = project.task("outputs: [tool.sh]\n", name="fetch")
    fetch.write_text(fetch.read_text().replace("mend.yaml", "fetch.yaml"))
    assert ran(project, state)["fetch"]["verdict"] == "passed"
    left = project.folder / "results/fetch/outputs"
    assert (left / "tool.sh").read_text() == "id"

    project.write(
        "script.yaml", "version: 1\nturns: [{actions: [run sh tool.sh]}, {actions: [finish --status done]}]\n"
    )
    fetch.unlink()
    project.task(
        "inputs: [../results/fetch/outputs/tool.sh]\n", base=TASK.replace("workspace: ../project\n", "")
    )
    refused = ran(project, state, "-o", str(project.folder / "again"), code=3)["mend"]
    identity = identity_of(left)
    endorse(state, identity, unreviewed(labels_of(state), identity))
    reviewed = ran(project, state, "-o", str(project.folder / "reviewed"))["mend"]

    assert "makes three with what nobody has reviewed" in refused["reason"]
    assert reviewed["verdict"] == "passed", reviewed
