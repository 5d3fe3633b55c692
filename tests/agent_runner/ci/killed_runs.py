"""Kill runs at random moments, go on with each, and look at what was lost, done twice or left.

By hand: `python -m tests.agent_runner.ci.killed_runs`; KILLS=50 says how often, SEED=1 which moments. Every
second time everything that the run started is killed with it, at once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_runner.ci.outcome import INTERRUPTED
from agent_runner.ci.reading import read_task
from agent_runner.state_label import state_label
from agent_runner.trust import trust
from tests.agent_runner.ci.many_tasks import POLICY, below, containers
from tests.agent_runner.ci.task_stand import project_in
from tests.promises.pairlock import pairlock

if TYPE_CHECKING:
    from tests.agent_runner.ci.task_stand import Project

TASKS = 3
LONGEST_SECONDS = 240.0


def main() -> None:
    """Kill, go on, and print what came of it."""
    kills, seed = (int(os.environ.get(name, number)) for name, number in (("KILLS", "50"), ("SEED", "1")))
    chance = random.Random(seed)  # noqa: S311 - the same moments again, no secret
    with tempfile.TemporaryDirectory(prefix="pairlock-kills-") as place:
        state = Path(place) / "state"
        state.mkdir(mode=0o700)
        project = made(Path(place) / "project", state)
        began = time.monotonic()
        faults = finished(project, state, "warm")
        whole = time.monotonic() - began
        for number in range(kills):
            results = f"results-{number}"
            done = killed(project, state, results, chance.uniform(0.3, whole), everything=number % 2 == 1)
            found = finished(project, state, results, done=done)
            faults += [f"{number}: {fault}" for fault in found]
            sys.stdout.write(f"{number}: {len(done)} of {TASKS} done before; faults: {found}\n")
            sys.stdout.flush()
        pairlock("clean", "--unreviewed", "--all", state=state)
    sys.stdout.write(f"{kills} kills, {len(faults)} faults\n" + "".join(f"  {each}\n" for each in faults))


def made(folder: Path, state: Path) -> Project:
    """Make the tasks, and trust them."""
    folder.mkdir()
    project = project_in(folder)
    (folder / "temporary").mkdir()
    project.write("policies/mend.yaml", POLICY)
    project.script(
        '["files write made.txt --content made"]', '["run sh -c true"]', '["finish --status done ok"]'
    )
    checks = "checks: {commands: [{run: [sh, -c, 'test -s made.txt']}]}\n"
    for number in range(TASKS):
        trust(state, read_task(project.task(checks, name=f"t{number}")).closure)
    return project


def started(project: Project, state: Path, results: str, *words: str) -> subprocess.Popen[str]:
    """Start a run."""
    folder = project.folder
    return subprocess.Popen(
        [
            sys.executable, "-m", "agent_runner", "ci", str(folder / "tasks"), "-o", str(folder / results),
            "--jobs", "2", "--json", *words,
        ],
        env={**os.environ, "PAIRLOCK_STATE": str(state), "TMPDIR": str(folder / "temporary")},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def killed(
    project: Project, state: Path, results: str, seconds: float, *, everything: bool
) -> dict[str, Any]:
    """Kill a run after a while, and return what it had noted as done."""
    run = started(project, state, results)
    with suppress(subprocess.TimeoutExpired):
        run.wait(seconds)
    for each in below(run.pid)[:: 1 if everything else 10**6]:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    run.communicate()
    done = {}
    for path in (project.folder / results / ".run").glob("*.result.json"):
        told = json.loads(path.read_text())
        if told["code"] != INTERRUPTED:  # that one ended in order, and is to be run again
            done[told["name"]] = told["session"]
    return done


def finished(project: Project, state: Path, results: str, *, done: dict[str, Any] | None = None) -> list[str]:
    """Go on with a run to its end, and return what is wrong with it."""
    there = (project.folder / results / ".run/plan.json").exists()  # else it was killed before it began
    run = started(project, state, results, *(["--resume"] if there else []))
    told, errors = run.communicate(timeout=LONGEST_SECONDS)
    if run.returncode != 0:
        return [f"exit {run.returncode}: {(told + errors)[-400:]}"]
    tasks = {task["name"]: task for task in json.loads(told)["tasks"]}
    found = [f"{name} did not pass" for name, task in tasks.items() if task["verdict"] != "passed"]
    found += [
        f"{name} was done again"
        for name, session in (done or {}).items()
        if tasks[name]["session"] != session
    ]
    found += [f"lost {TASKS - len(tasks)} tasks"] if len(tasks) != TASKS else []
    found += [f"container {each}" for each in containers(state)]
    found += [f"left {each.name}" for each in (project.folder / "temporary").iterdir()]
    left = (project.folder / results / ".run").glob("*.order.json")
    found += [f"left {each.name}" for each in left]
    return found + [f"volume {each}" for each in volumes(state)]


def volumes(state: Path) -> list[str]:
    """Return the volumes of sessions of a state folder."""
    label = f"label=io.pairlock.state={state_label(state)}"
    words = ["docker", "volume", "ls", "-q", "--filter", label, "--filter", "label=io.pairlock.session"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


if __name__ == "__main__":
    main()
