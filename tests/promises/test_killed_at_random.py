"""A runner killed at any moment leaves nothing that runs, and nothing at all after `pairlock clean`."""

from __future__ import annotations

import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import docker
import pytest

from agent_runner.container import own_identity
from agent_runner.state_label import state_label
from audit.state import StateFiles
from audit.verify import verify_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.engine, pytest.mark.gvisor, pytest.mark.long]
CHECKOUT = Path(__file__).resolve().parents[2]
KILLS: Final = int(os.environ.get("PAIRLOCK_KILLS", "200"))
SEED: Final = int(os.environ.get("PAIRLOCK_SEED") or random.SystemRandom().randrange(1 << 32))
GONE_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 60.0
"""The promise is two seconds; a machine that is busy with eight other things gets more."""

SCRIPT = """\
version: 1
turns:
  - actions: [{command: files write made.txt, content: made}]
  - actions: ["run sh -c 'echo more >more.txt; sleep 0.2'", "run rm gone.txt"]
  - actions: ["finish --status done"]
"""
READS = """\
version: 1
turns:
  - actions: ["files list", "files read gone.txt"]
  - actions: ["finish --status done"]
"""
RUNS = """\
version: 1
turns:
  - actions: ["run sh -c 'sleep 0.2'"]
  - actions: ["finish --status done"]
"""
EXEC = "exec: {programs: any}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One sort of session."""

    name: str
    policy: str
    script: str
    share: int
    """How many of eight kills."""
    files: bool = True
    arguments: tuple[str, ...] = ()


KINDS: Final = (
    Kind(name="stage", policy=f"grant: [files, exec]\n{EXEC}", script=SCRIPT, share=2),
    Kind(
        name="detached",
        policy=f"grant: [files, exec]\n{EXEC}",
        script=SCRIPT,
        share=2,
        arguments=("--detach",),
    ),
    Kind(name="read", policy="grant: [files]\nfiles: {access: read}\n", script=READS, share=1),
    Kind(name="copy,x", policy=f"grant: [files, exec]\n{EXEC}", script=SCRIPT, share=1),
    Kind(
        name="network",
        policy="grant: [network, exec]\nnetwork: {allow: [{host: example.com}]}\n"
        "exec: {programs: any, contents: public}\n",
        script=RUNS,
        share=1,
        files=False,
    ),
    Kind(
        name="gvisor",
        policy=f"grant: [files, exec]\n{EXEC}isolation: {{runtime: runsc}}\n",
        script=SCRIPT,
        share=1,
    ),
)


@dataclass
class Zygote:
    """Runners, started and killed by `tests/promises/zygote.py`."""

    process: subprocess.Popen[str]
    waiting: dict[int, queue.Queue[dict[str, Any]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def do(self, job: dict[str, Any]) -> tuple[dict[str, Any], queue.Queue[dict[str, Any]]]:
        """Do one job, and return what came of it and where it will be said what it left."""
        answer: queue.Queue[dict[str, Any]] = queue.Queue()
        assert self.process.stdin is not None
        with self.lock:
            number = len(self.waiting)
            self.waiting[number] = answer
            self.process.stdin.write(json.dumps({"job": number, **job}) + "\n")
            self.process.stdin.flush()
        return answer.get(timeout=300), answer

    def listen(self) -> None:
        """Hand out answers until there are no more."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            self.waiting[said["job"]].put(said)


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    """Start it, and end it."""
    process = subprocess.Popen(
        [sys.executable, str(CHECKOUT / "tests" / "promises" / "zygote.py")],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    started = Zygote(process)
    listener = threading.Thread(target=started.listen)
    listener.start()
    yield started
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait()
    listener.join()
    process.stdout.close()


@dataclass
class Slot:
    """Sessions of one kind, one after the other, on a workspace and a state folder of their own."""

    kind: Kind
    folder: Path
    state: Path
    zygote: Zygote
    client: docker.APIClient
    seconds: float = 0.0
    """How long one takes that nobody kills."""
    gone: list[float] = field(default_factory=list)
    """When each container was gone, seconds after the kill."""
    orphans: list[float] = field(default_factory=list)
    """When whatever else the runner had started was, such as its egress gate."""
    never_started: int = 0
    killed: int = 0

    def __post_init__(self) -> None:
        (self.folder / "run").mkdir(parents=True, mode=0o700)
        (self.folder / "p.yaml").write_text(
            f'version: 1\nname: p\n{self.kind.policy}commands: {{allow: ["files *", run]}}\n'
        )
        (self.folder / "s.yaml").write_text(self.kind.script)
        work = self.folder / "work"
        work.mkdir()
        (work / "gone.txt").write_text("gone")
        identity = own_identity()
        for path in (work, work / "gone.txt"):
            if os.getuid() == 0:
                os.chown(path, identity.uid, identity.gid)

    @property
    def wanted(self) -> int:
        """Return how many of the kills are to be this kind's."""
        return KILLS * self.kind.share // sum(kind.share for kind in KINDS)

    @property
    def environment(self) -> dict[str, str]:
        """Return what tells a runner where its things are."""
        return {"PAIRLOCK_STATE": str(self.state), "XDG_RUNTIME_DIR": str(self.folder / "run"), "CI": ""}

    def session(self, kill_after: float | None) -> tuple[dict[str, Any], queue.Queue[dict[str, Any]]]:
        """Run one session, and kill its runner after so many seconds; `Zygote.do`."""
        named = ["-w", "work"] if self.kind.files else []
        arguments = ["run", "t", "-p", "p.yaml", *named, "-m", "scripted:s.yaml", *self.kind.arguments]
        return self.zygote.do(
            {
                "arguments": arguments,
                "environment": self.environment,
                "folder": str(self.folder),
                "said": str(self.folder / "said"),
                "kill_after": kill_after,
            }
        )

    def measure(self) -> None:
        """Run one to its end: the positive twin, and the measure for the moments."""
        came, leaving = self.session(None)
        assert came["code"] == 0, (self.folder / "said").read_text()
        assert leaving.get(timeout=300)["left"] == []
        self.seconds = came["seconds"]

    def kill_once(self, moment: float) -> None:
        """Kill a session at a share of its duration, and wait for its container to go by itself."""
        came, leaving = self.session(moment * self.seconds)
        if not came["killed"]:
            self.seconds = came["seconds"]  # it ended before its moment: what one takes changes with the load
            assert leaving.get(timeout=300)["left"] == []
            return
        self.killed += 1
        while (states := self._states()) - {"created"}:
            assert time.monotonic() < came["at"] + PATIENCE_SECONDS, f"a container is still there: {states}"
            time.sleep(0.02)
        self.gone.append(time.monotonic() - came["at"])
        self.never_started += bool(states)
        left = leaving.get(timeout=300)
        assert left["left"] == [], "a process that the runner had started lives on"
        self.orphans.append(left["seconds"])

    def _states(self) -> set[str]:
        label = f"io.pairlock.state={state_label(self.state)}"
        return {str(found["State"]) for found in self.client.containers(all=True, filters={"label": label})}

    def left(self) -> list[str]:
        """Return whatever there still is of any session."""
        label = f"io.pairlock.state={state_label(self.state)}"
        volumes = self.client.volumes(filters={"label": label}).get("Volumes") or []
        mounts = [
            line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.folder) in line
        ]
        files = [
            str(path)
            for pattern in ("run/pairlock/*", "run/pairlock-mounts/*")
            for path in self.folder.glob(pattern)
        ]
        files += [
            str(p) for p in self.state.glob("sessions/*/*") if p.name.startswith(("stage.", "workspace."))
        ]
        return [*self._states(), *(v["Name"] for v in volumes), *mounts, *files]

    def pairlock(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another pairlock on the same state."""
        return subprocess.run(
            [sys.executable, "-m", "agent_runner", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def phases(self) -> Counter[str]:
        """Count by the last thing that each killed session had written down."""
        found: Counter[str] = Counter()
        for session in StateFiles(self.state).session_ids():
            lines = self._entries(session)
            found[lines[-1]["type"] if lines else "nothing"] += 1
        return found

    def _entries(self, session: str) -> list[dict[str, Any]]:
        events = StateFiles(self.state).session(session).events
        text = events.read_text() if events.exists() else ""
        lines = [line for line in text.split("\n")[:-1] if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry["type"] != "log.sealed"]

    def check(self) -> None:
        """Clean up, and see that nothing is left but ledgers that verify and changes that nobody reviewed."""
        wrote = [s for s in StateFiles(self.state).session_ids() if self._wrote(s)]
        cleaned = self.pairlock("clean")
        assert cleaned.returncode == 0, cleaned.stderr
        assert self.left() == []
        for session in StateFiles(self.state).session_ids():
            found = verify_session(self.state, session)
            assert found.faults() == {}, (session, found, self.phases())
        if self.kind.name != "copy,x":  # what a killed runner's sandbox had in memory is gone with it
            for session in wrote:
                made = StateFiles(self.state).session(session).folder / "stage" / "upper" / "made.txt"
                assert made.read_text() == "made", f"an unreviewed change of {session} was deleted"
        assert self.pairlock("audit", "verify", "--all").returncode == 0

    def _wrote(self, session: str) -> bool:
        files = [
            f for e in self._entries(session) if e["type"] == "action.finished" for f in e["body"]["files"]
        ]
        return any(used["path"] == "made.txt" for used in files)


def test_two_hundred_kills_leave_nothing(
    tmp_path: Path, new_state: Callable[[], Path], zygote: Zygote
) -> None:
    """SIGKILL from before `create` to after `remove`: in the foreground, detached, under runc and gVisor."""
    sys.stdout.write(f"seed {SEED}, {KILLS} kills\n")
    client = docker.from_env().api
    slots = [Slot(kind, tmp_path / kind.name, new_state(), zygote, client) for kind in KINDS]
    chance = random.Random(SEED)  # noqa: S311 - moments, no secrets
    moments = {slot.kind.name: [chance.uniform(0, 1.1) for _ in range(KILLS)] for slot in slots}

    def work(slot: Slot) -> None:
        slot.measure()
        for moment in moments[slot.kind.name]:
            if slot.killed < slot.wanted:
                slot.kill_once(moment)

    with ThreadPoolExecutor(len(slots)) as pool:
        list(pool.map(work, slots))

    for slot in slots:
        report(slot)
        slot.check()
    assert {slot.kind.name: slot.killed for slot in slots} == {slot.kind.name: slot.wanted for slot in slots}
    client.close()


def report(slot: Slot) -> None:
    """Print when the containers were gone, and what the sessions had come to."""
    gone = sorted(slot.gone)
    if not gone:
        sys.stdout.write(f"{slot.kind.name:<9} none killed of {slot.seconds:.2f} s\n")
        return
    late = sum(seconds > GONE_SECONDS for seconds in gone)
    middle, most = gone[len(gone) // 2], gone[-1]
    sys.stdout.write(
        f"{slot.kind.name:<9} {slot.killed} killed of {slot.seconds:.2f} s; container gone after "
        f"p50 {middle:.2f} s, most {most:.2f} s, {late} over {GONE_SECONDS:.0f} s; "
        f"{slot.never_started} never started; all that it had started after at most "
        f"{max(slot.orphans):.2f} s\n          {dict(slot.phases())}\n"
    )
