"""Run many tasks at once and measure: what was lost, what the runners take, what is left.

By hand: `python -m tests.agent_runner.ci.many_tasks`; TASKS=50, JOBS=20 and SLEEP=40 say how many there are,
how many run at once, and for how many seconds each agent's program sleeps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_runner.ci.reading import read_task
from agent_runner.state_label import state_label
from agent_runner.trust import trust
from tests.agent_runner.ci.task_stand import project_in
from tests.promises.pairlock import pairlock

POLICY = """\
version: 1
name: mend
grant: [files, exec]
exec: {programs: [sh]}
commands: {allow: ["files *", run]}
isolation: {memory: 128MiB, scratch: 16MiB, processes: 64}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """What came of it."""

    code: int
    tasks: list[dict[str, Any]]
    at_once: int
    """Containers at once, at most."""
    largest_mb: float
    """Of one process, in megabytes of 10^6 bytes; a page that several share counts once, divided (PSS)."""
    all_mb: float
    """Of the run and everything below it, at its peak."""
    left: list[str]
    """Containers of the state folder that are left."""
    temporary: list[str]
    """What is left in the folder for temporary files."""
    seconds: float


def measure(folder: Path, state: Path, *, tasks: int, jobs: int, seconds: int) -> Many:
    """Run tasks and look on.

    Args:
        folder: For the project, and what comes of it.
        state: The state folder.
        tasks: How many there are.
        jobs: How many run at once.
        seconds: How long each agent's program sleeps.
    """
    project = project_in(folder)
    project.write("policies/mend.yaml", POLICY)
    sleeps = f"[\"run sh -c 'sleep {seconds}'\"]"
    project.script('["files write made.txt --content made"]', sleeps, '["finish --status done ok"]')
    for number in range(tasks):
        path = project.task("checks: {files: [{path: made.txt, contains: made}]}\n", name=f"t{number:02}")
        trust(state, read_task(path).closure)
    words = ["ci", str(folder / "tasks/t00.yaml"), "-o", str(folder / "first")]
    pairlock(*words, state=state)  # the runtime and the starter image are made once for a machine
    temporary = folder / "temporary"
    temporary.mkdir()
    began = time.monotonic()
    words = ["ci", str(folder / "tasks"), "-o", str(folder / "results"), "--jobs", str(jobs), "--json"]
    with (folder / "told").open("w") as told, (folder / "said").open("w") as said:
        run = subprocess.Popen(
            [sys.executable, "-m", "agent_runner", *words],
            env={**os.environ, "PAIRLOCK_STATE": str(state), "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL, stdout=told, stderr=said,
        )  # fmt: skip
        at_once, largest, everything = 0, 0.0, 0.0
        while run.poll() is None:
            taken = [pss_mb(pid) for pid in below(run.pid)]
            largest, everything = max([largest, *taken]), max(everything, sum(taken))
            at_once = max(at_once, len(containers(state)))
            time.sleep(1.0)
    return Many(
        code=run.returncode,
        tasks=json.loads((folder / "told").read_text())["tasks"],
        at_once=at_once,
        largest_mb=largest,
        all_mb=everything,
        left=containers(state),
        temporary=sorted(path.name for path in temporary.iterdir()),
        seconds=time.monotonic() - began,
    )


def below(pid: int) -> list[int]:
    """Return a process and everything that it started."""
    found = [pid]
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                found += below(int(child))
    return found


def pss_mb(pid: int) -> float:
    """Return what a process holds; 0 for one that is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1_000_000
    return 0.0


def containers(state: Path) -> list[str]:
    """Return the containers of a state folder."""
    label = f"label=io.pairlock.state={state_label(state)}"
    said = subprocess.run(
        ["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True
    )
    return said.stdout.split()


def main() -> None:
    """Measure and print."""
    tasks, jobs = (int(os.environ.get(name, number)) for name, number in (("TASKS", "50"), ("JOBS", "20")))
    with tempfile.TemporaryDirectory(prefix="pairlock-many-") as place:
        state = Path(place) / "state"
        state.mkdir(mode=0o700)
        project = Path(place) / "project"
        project.mkdir()
        many = measure(project, state, tasks=tasks, jobs=jobs, seconds=int(os.environ.get("SLEEP", "40")))
        pairlock("clean", "--unreviewed", "--all", state=state)
    passed = sum(task["verdict"] == "passed" for task in many.tasks)
    sys.stdout.write(
        f"{passed} of {tasks} passed, exit {many.code}, {many.at_once} at once, {many.seconds:.0f} s; "
        f"largest process {many.largest_mb:.0f} MB, all {many.all_mb:.0f} MB; "
        f"left: {many.left + many.temporary}\n"
    )


if __name__ == "__main__":
    main()
