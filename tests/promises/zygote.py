"""Start pairlock's runners quickly, from a process that has imported everything, and kill them at a moment.

Run as a program it reads one job a line from stdin and writes two outcomes to stdout, a line each: one when
the runner ended or was killed, one when nothing that it had started is left. For each job it forks a watcher,
the watcher forks a runner, which runs `pairlock` with the job's arguments in a process group of its own. At
the job's moment the watcher kills every process that is that runner or was forked by it, as `--detach` does;
what the runner *started*, such as its egress gate, has to end by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PR_SET_CHILD_SUBREAPER: Final = 36
ORPHANS_SECONDS: Final = 60.0
IMPORTED: Final = (
    "agent_runner.cli.main",
    "agent_runner.cli.run",
    "agent_runner.door",
    "agent_runner.session",
    "sandbox.docker_engine",
    "sandbox.egress.gate",
)
"""Before the fork, for speed."""


def main() -> None:
    """Take jobs until stdin ends."""
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # watchers are not waited for
    for line in sys.stdin:
        job = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for outcome in watch(job):
                os.write(1, (json.dumps({"job": job["job"], **outcome}) + "\n").encode())
            os._exit(0)


def watch(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run one job, kill it at its moment, and say when that was; then what it left behind."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    begun = time.monotonic()
    runner = os.fork()
    if runner == 0:
        run(job)
    moment = begun + job["kill_after"] if job["kill_after"] is not None else None
    code: int | None = None
    alive = True
    while alive and (moment is None or time.monotonic() < moment):
        time.sleep(0.005)
        code, alive = reaped(runner, code)
    killed = 0
    if alive:
        killed = kill_runners()
    at = time.monotonic()
    yield {"killed": killed, "code": code, "at": at, "seconds": at - begun}
    while reaped(runner, code)[1] and time.monotonic() < at + ORPHANS_SECONDS:
        time.sleep(0.01)
    left = [command_line(pid) for pid in children(os.getpid())]
    yield {"left": left, "seconds": time.monotonic() - at}


def run(job: dict[str, Any]) -> None:
    """Become the runner; never returns."""
    os.setpgid(0, 0)
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    empty = os.open(os.devnull, os.O_RDWR)
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, source in ((0, empty), (1, said), (2, said)):
        os.dup2(source, number)
    sys.argv = ["pairlock", *job["arguments"]]
    from agent_runner.cli.main import main as pairlock

    code = 1
    try:
        pairlock()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        os._exit(code)


def reaped(runner: int, code: int | None) -> tuple[int | None, bool]:
    """Reap what has ended; return the runner's own code and whether anything of the job is left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return code, True
            if ended == runner:
                code = os.waitstatus_to_exitcode(status)
    return code, False


def kill_runners() -> int:
    """Kill every process below this one that was forked and not started, and return how many."""
    own = command_line(os.getpid())
    count = 0
    waiting = children(os.getpid())
    while waiting:
        pid = waiting.pop()
        if command_line(pid) == own:
            waiting += children(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                count += 1
    return count


def children(pid: int) -> list[int]:
    """Return a process's children; none for one that is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def command_line(pid: int) -> str:
    """Return what a process was started with."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
