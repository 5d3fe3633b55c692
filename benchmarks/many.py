"""Run many sessions at once on one workspace and one state folder, and measure what each runner takes."""

# Run it with `python -m benchmarks.many [STATE]`; SESSIONS=20 says how many. It prints floor, ours and ratio,
# and exits 1 when a gate does not hold. The floor: a bare interpreter that has asked the engine for its
# version through the same SDK. PSS counts a page that several processes share once, divided among them.

import contextlib
import os
import secrets
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker

from agent_runner.container import own_identity
from agent_runner.state_label import state_label
from audit.state import StateFiles
from audit.verify import verify_session

SESSIONS = int(os.environ.get("SESSIONS", "20"))
LARGEST_MEGABYTES = 60.0
PATIENCE_SECONDS = 280.0
CHECKOUT = Path(__file__).resolve().parents[1]
FLOOR = """
import docker, sys
docker.APIClient(version="auto").version()
print("ready", flush=True)
sys.stdin.read()
"""
POLICY = """\
version: 1
name: many
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
"""
SCRIPT = """\
version: 1
turns:
  - actions: [{command: files write made.txt, content: made}]
  - actions: ["run sh -c 'touch waits; exec sleep MARKER'"]
  - actions: ["finish --status done"]
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one process holds, in megabytes of 10^6 bytes."""

    pss: float
    rss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """What came of it."""

    floor: Memory
    runners: tuple[Memory, ...]
    codes: tuple[int, ...]
    """Exit codes."""
    faults: int
    """Ledgers that do not verify."""
    containers: int
    """Containers that are left."""
    start_seconds: float
    """From the first start until all were at work."""

    def problems(self) -> list[str]:
        """Return what does not hold; empty when everything does."""
        largest = max(memory.pss for memory in self.runners)
        found = {
            f"{sum(map(bool, self.codes))} sessions failed": any(self.codes),
            f"{self.faults} ledgers do not verify": self.faults > 0,
            f"{self.containers} containers are left": self.containers > 0,
            f"a runner holds {largest:.1f} MB": largest >= LARGEST_MEGABYTES,
        }
        return [words for words, holds in found.items() if holds]


def memory_of(pid: int) -> Memory:
    """Return a process's memory now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return Memory(kib["Pss"] * 1024 / 1e6, kib["Rss"] * 1024 / 1e6)


def measure(folder: Path, state: Path, sessions: int) -> Many:
    """Run sessions at once and wait for their end.

    Args:
        folder: An empty folder for workspace, policy and script.
        state: The state folder; what is missing of runtime volume and image is built first.
        sessions: How many.
    """
    marker = f"9{secrets.randbelow(10**8):08}"
    _prepare(folder, marker)
    _one(folder, state)  # builds what is missing
    before = set(StateFiles(state).session_ids())
    begun = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", FLOOR], stdin=-1, stdout=-1) as bare:
        runners = [_started(folder, state) for _ in range(sessions)]
        waiting = "sessions/*/stage/upper/waits"
        _until(lambda: len(list(state.glob(waiting))) >= sessions or any(r.poll() for r in runners))
        seconds = time.monotonic() - begun
        _until(lambda: bare.poll() is not None or _has_answered(bare))
        floor = memory_of(bare.pid)
        memory = tuple(memory_of(runner.pid) for runner in runners if runner.poll() is None)
        bare.kill()
    codes = tuple(_ended(runner, marker) for runner in runners)
    made = set(StateFiles(state).session_ids()) - before
    return Many(
        floor=floor,
        runners=memory,
        codes=codes,
        faults=sum(bool(verify_session(state, session).faults()) for session in made),
        containers=_containers(state),
        start_seconds=seconds,
    )


def _ended(runner: subprocess.Popen[bytes], marker: str) -> int:
    """Wake every program that sleeps, as their user may, until a runner has ended; return its code."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while runner.poll() is None and time.monotonic() < deadline:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_bytes().endswith(b"sleep\0" + marker.encode() + b"\0"):
                    os.kill(int(path.parent.name), signal.SIGTERM)
        time.sleep(0.2)
    runner.kill()
    return runner.wait()


def _prepare(folder: Path, marker: str) -> None:
    (folder / "p.yaml").write_text(POLICY)
    (folder / "s.yaml").write_text(SCRIPT.replace("MARKER", marker))
    (folder / "once.yaml").write_text(
        'version: 1\nturns:\n  - actions: ["run true", "finish --status done"]\n'
    )
    work = folder / "work"
    work.mkdir()
    if os.getuid() == 0:  # only a workspace of the session's own uid is mounted live
        os.chown(work, own_identity().uid, own_identity().gid)


def _one(folder: Path, state: Path) -> None:
    if _started(folder, state, script="once.yaml").wait():
        raise SystemExit(f"the first session failed: {(folder / 'said').read_text()}")


def _started(folder: Path, state: Path, *, script: str = "s.yaml") -> subprocess.Popen[bytes]:
    arguments = ["run", "many", "-p", "p.yaml", "-w", "work", "-m", f"scripted:{script}"]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "agent_runner", *arguments],
            cwd=folder,
            env={**os.environ, "PAIRLOCK_STATE": str(state), "PYTHONPATH": str(CHECKOUT), "CI": "true"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def _until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.1)


def _has_answered(bare: subprocess.Popen[bytes]) -> bool:
    return bare.stdout is not None and bool(select.select([bare.stdout], [], [], 0)[0])


def _containers(state: Path) -> int:
    client = docker.APIClient(version="auto")
    try:
        label = f"io.pairlock.state={state_label(state)}"
        return len(client.containers(all=True, filters={"label": label}))
    finally:
        client.close()


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="pairlock-many-", dir="/var/tmp") as place:
        folder = Path(place)
        state = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "state"
        many = measure(folder, state, SESSIONS)
    pss = [memory.pss for memory in many.runners]
    rss = [memory.rss for memory in many.runners]
    print(f"{'MB a process':<28} {'floor':>8} {'ours':>8} {'most':>8} {'ratio':>8}")
    for name, floor, ours in (("PSS", many.floor.pss, pss), ("RSS", many.floor.rss, rss)):
        middle = statistics.median(ours)
        print(f"{name:<28} {floor:8.1f} {middle:8.1f} {max(ours):8.1f} {middle / floor:8.2f}")
    print(f"{len(many.codes)} sessions at once, all at work after {many.start_seconds:.1f} s")
    problems = many.problems()
    print("; ".join(problems) or "every gate holds")
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
