"""Measure the start of a session on 10 and on 100,000 files, as an ordinary user with an overlay."""

from __future__ import annotations

# Run it with `python -m benchmarks.workspace [STATE]`; it prints both, what each scan took, the floor of a
# scan (the names of every folder, listed and thrown away) in the same run, and the ratio with the scans, and
# exits 1 when the gate does not hold or the overlay was not taken. Run by root without STATE, it goes on as
# an ordinary user with the group of the engine's socket, whom the promise is made to; with STATE the
# workspace belongs to the uid of root's sessions, and every path is asked whose it is.
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.approvals import NobodyApprover
from agent_runner.backends.scripted import Script, ScriptedBackend
from agent_runner.container import NOBODY
from agent_runner.session import SessionRequest, run_session
from policies.source import parse_policy
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.cleaning import remove_built
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from agent_runner.backends.backend import Reply
    from cli_tools.observation import Observation

ROUNDS = int(os.environ.get("PAIRLOCK_BENCH_ROUNDS", "5"))
FEW, MANY = 10, int(os.environ.get("PAIRLOCK_BENCH_FILES", "100000"))
FILES_A_FOLDER = 200
SOCKET = "/var/run/docker.sock"
MODULE = "benchmarks.workspace"
LARGEST_RATIO = 1.5
"""Of the starts, their scans included, above what listing so many names costs any program here."""
POLICY = 'version: 1\nname: bench\ngrant: [files]\ncommands: {allow: ["files *"]}\n'


@dataclass(frozen=True, slots=True)
class Start:
    """One start.

    Attributes:
        seconds: From the request to the first turn, what the model says included, which is a file's.
        scan_seconds: The one walk of the workspace.
        cpu_seconds: Processor time of this process meanwhile, which other work on the machine lengthens less.
        strategy: How the workspace was held.
    """

    seconds: float
    scan_seconds: float
    cpu_seconds: float
    strategy: str

    @property
    def rest(self) -> float:
        """Seconds that are not the scan's."""
        return self.seconds - self.scan_seconds


def fill(folder: Path, files: int) -> None:
    """Make a workspace of so many small files."""
    folder.mkdir()
    for number in range(files):
        below = folder / f"d{number // FILES_A_FOLDER}"
        if number % FILES_A_FOLDER == 0:
            below.mkdir()
        (below / f"f{number}.txt").write_text("x\n")
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)


@dataclass(slots=True)
class FirstTurn:
    """Notes when the session's first turn began: then it had started."""

    at: float = 0.0
    cpu_at: float = 0.0

    def said(self, turn: int, reply: Reply) -> None:  # noqa: ARG002 - a Watcher
        """Note the first turn."""
        self.at, self.cpu_at = self.at or time.monotonic(), self.cpu_at or time.process_time()

    def saw(self, observation: Observation) -> None:
        """Take no note."""


async def start(folder: Path, state: Path) -> Start:
    """Run one session that does nothing on a workspace."""
    script = Script.model_validate({"version": 1, "turns": [{"actions": ["finish --status done"]}]})
    watcher, begun, cpu_begun = FirstTurn(), time.monotonic(), time.process_time()
    result = await run_session(
        SessionRequest(
            task="nothing",
            policy=parse_policy(POLICY, origin="bench.yaml"),
            policy_origin="bench.yaml",
            workspace=open_workspace(folder, state=state),
            backend=ScriptedBackend(script, name="scripted:bench"),
            state=state,
            headless=True,
            task_is_origin=False,
            approver=NobodyApprover(),
            watcher=watcher,
            progress=lambda *_, **__: None,
        )
    )
    if result.error is not None or result.plan is None:
        raise SystemExit(f"the session failed: {result.reason}")
    facts, cpu = result.plan.facts, watcher.cpu_at - cpu_begun
    return Start(watcher.at - begun, facts.scan_seconds, cpu, type(result.plan).__name__)


def listed(folder: Path) -> float:
    """Return how many seconds it takes to list every name below a folder, and to do nothing with it."""
    begun, pending = time.monotonic(), [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as listing:
            pending += [entry.path for entry in listing if entry.is_dir(follow_symlinks=False)]
    return time.monotonic() - begun


def median_of(starts: list[Start]) -> Start:
    """Return the start that took the median."""
    middle = statistics.median_low([each.seconds for each in starts])
    return next(each for each in starts if each.seconds == middle)


def measure(top: Path, state: Path) -> int:
    """Measure both, print, and return the exit code."""
    for name, files in (("few", FEW), ("many", MANY)):
        fill(top / name, files)
    asyncio.run(start(top / "few", state))  # builds what is missing
    runs: dict[str, list[Start]] = {"few": [], "many": []}
    floors = []
    for _ in range(ROUNDS):
        floors.append(listed(top / "many"))
        for name, starts in runs.items():
            starts.append(asyncio.run(start(top / name, state)))
    few, many, floor = median_of(runs["few"]), median_of(runs["many"]), statistics.median(floors)
    taken = {each.strategy for starts in runs.values() for each in starts}
    for files, each in ((FEW, few), (MANY, many)):
        print(
            f"{files:>7} files  start {each.seconds:.3f} s, of it the scan {each.scan_seconds:.3f} s, "
            f"the rest {each.rest:.3f} s  {each.strategy}"
        )
    cpu = {name: statistics.median(each.cpu_seconds for each in starts) for name, starts in runs.items()}
    print(
        f"processor time {cpu['few']:.3f} s and {cpu['many']:.3f} s, "
        f"{(cpu['many'] - cpu['few']) / (MANY - FEW) * 1e6:.1f} microseconds for each further file"
    )
    whole, above = many.seconds / few.seconds, many.seconds / (few.seconds + floor)
    print(f"the names of {MANY} files, listed and thrown away: {floor:.3f} s, the floor of a scan")
    holds = above <= LARGEST_RATIO and taken == {"Overlay"}
    verdict = "holds" if holds else "DOES NOT HOLD"
    print(f"ratio {whole:.2f}; above the floor {above:.2f}, at most {LARGEST_RATIO}: {verdict}")
    told = {"ratio": round(whole, 3), "above_floor": round(above, 3)}
    print(json.dumps({**told, "strategies": sorted(taken), "holds": holds}))
    return 0 if holds else 1


def as_ordinary() -> int:
    """Run this as an ordinary user who may ask the engine, and who can read this Python wherever it lies."""
    setpriv = shutil.which("setpriv") or "/usr/bin/setpriv"
    groups = f"--groups={Path(SOCKET).stat().st_gid}"
    may_read = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    return subprocess.run(
        [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", groups, *may_read, sys.executable, "-m", MODULE],
        env={**os.environ, "HOME": tempfile.gettempdir()}, check=False,
    ).returncode  # fmt: skip


async def clean_away(state: Path) -> None:
    """Remove what was built for these measurements."""
    engine = await DockerEngine.connect()
    await remove_built(engine, state=state, current=True)
    await engine.close()


def main() -> int:
    """Measure in folders of our own, and remove them."""
    if os.getuid() == 0 and len(sys.argv) == 1:
        return as_ordinary()
    top = Path(tempfile.mkdtemp(prefix="pairlock-bench-"))
    try:
        state = Path(sys.argv[1]) if len(sys.argv) > 1 else top / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        return measure(top, state)
    finally:
        if len(sys.argv) == 1:
            asyncio.run(clean_away(state))
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
