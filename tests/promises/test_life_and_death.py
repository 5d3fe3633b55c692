"""However a session ends, its container is gone; what it wrote stays, and its ledger says how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import docker
import pytest

from agent_runner.container import state_label
from audit.verdict import Crashed
from audit.verify import verify_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.engine
CHECKOUT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
LONG = 120.0
POLICY = """\
version: 1
name: p
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
"""
SCRIPT = """\
version: 1
turns:
  - actions: [{command: files write made.txt, content: made}]
  - actions: ["run sh -c 'echo started >here; sleep 300'"]
  - actions: ["finish --status done"]
"""


class Session:
    """A `pairlock run` in a process of its own."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.state = state
        (folder / "p.yaml").write_text(POLICY)
        (folder / "s.yaml").write_text(SCRIPT)
        (folder / "work").mkdir()
        (folder / "work" / "there.txt").write_text("there")
        self.environment = {
            **os.environ,
            "PAIRLOCK_STATE": str(state),
            "PYTHONPATH": str(CHECKOUT),
            "CI": "true",
        }
        arguments = ["run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent_runner", *arguments],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def until_running(self) -> str:
        """Wait until the long action runs, and return the session's id."""
        return wait_for(self._running, "the long action")

    def _running(self) -> str:
        for written in (self.state / "sessions").glob("*/stage/upper/here"):
            return written.parents[2].name
        assert self.process.poll() is None, "the session ended before it was to"
        return ""

    def pairlock(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another pairlock on the same state."""
        command = [sys.executable, "-m", "agent_runner", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


def wait_for(ready: Callable[[], T], what: str) -> T:
    """Return the first true answer."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {LONG} s for {what}")


@pytest.fixture
def session(tmp_path: Path, new_state: Callable[[], Path]) -> Iterator[Session]:
    """Start a session that takes long."""
    started = Session(tmp_path, new_state())
    yield started
    if started.process.poll() is None:
        started.process.kill()
    started.process.wait()
    if started.process.stdout is not None:
        started.process.stdout.close()


@pytest.fixture
def containers() -> Iterator[Callable[[Path], list[str]]]:
    """Return a lister of the containers of a state folder."""
    client = docker.from_env()
    label = "io.pairlock.state"
    yield lambda state: [
        found["Id"]
        for found in client.api.containers(all=True, filters={"label": f"{label}={state_label(state)}"})
    ]
    client.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_session_is_closed_and_leaves_no_container(
    session: Session, containers: Callable[[Path], list[str]], number: signal.Signals
) -> None:
    """Ctrl-C, SIGTERM or a closed terminal: exit 130, the ledger closed as interrupted, the stage kept."""
    name = session.until_running()
    assert len(containers(session.state)) == 1

    session.process.send_signal(number)
    out, _ = session.process.communicate(timeout=LONG)

    assert session.process.returncode == 130
    assert json.loads(out)["status"] == "interrupted"
    assert containers(session.state) == []
    assert verify_session(session.state, name).faults() == {}
    assert session.pairlock("diff", "--name-only").stdout.split() == ["here", "made.txt"]


def test_a_killed_runner_leaves_no_container_and_its_ledger_verifies(
    session: Session, containers: Callable[[Path], list[str]]
) -> None:
    """SIGKILL: the link ends, the guest with it, and nobody has to clean up after the container."""
    name = session.until_running()
    assert len(containers(session.state)) == 1

    session.process.kill()
    session.process.wait()
    wait_for(lambda: not containers(session.state), "the container to go")

    found = verify_session(session.state, name)
    assert found.faults() == {}
    assert isinstance(found.completeness, Crashed)
    assert "interrupted" in session.pairlock("audit", "list").stdout
    assert session.pairlock("diff", "--name-only").stdout.split() == ["here", "made.txt"]


def test_clean_keeps_unreviewed_changes_until_it_is_told(
    session: Session, containers: Callable[[Path], list[str]]
) -> None:
    """`clean` removes leftovers; what nobody has reviewed needs `--unreviewed`."""
    name = session.until_running()
    session.process.kill()
    session.process.wait()
    wait_for(lambda: not containers(session.state), "the container to go")
    stage = session.state / "sessions" / name / "stage"

    kept = session.pairlock("clean")
    still_there = stage.is_dir()
    removed = session.pairlock("clean", "--unreviewed")

    assert (kept.returncode, removed.returncode) == (0, 0), kept.stderr + removed.stderr
    assert still_there
    assert not stage.exists()
    assert (session.state / "sessions" / name / "events.jsonl").is_file()


def test_a_running_session_cannot_be_applied_or_cleaned_away(session: Session) -> None:
    """What is still changing is not reviewed, and not removed."""
    name = session.until_running()

    applied = session.pairlock("apply", name, "--yes")
    cleaned = session.pairlock("clean", "--unreviewed")

    assert applied.returncode == 2
    assert "is running" in applied.stderr
    assert cleaned.returncode == 0
    assert (session.state / "sessions" / name / "stage").is_dir()
    assert session.process.poll() is None
