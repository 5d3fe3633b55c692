"""However a session ends, its container is gone; what it wrote stays, and its ledger says how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import docker
import pytest

from agent_runner.state_label import state_label
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
# Makes stdin the terminal of its session, and becomes the program that follows (tty_ioctl(4), TIOCSCTTY).
TAKES_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Session:
    """A `pairlock run` in a process of its own."""

    def __init__(
        self,
        folder: Path,
        state: Path,
        *,
        policy: str = POLICY,
        script: str = SCRIPT,
        terminal: int | None = None,
    ) -> None:
        self.state = state
        self.folder = folder
        (folder / "p.yaml").write_text(policy)
        (folder / "s.yaml").write_text(script)
        (folder / "work").mkdir()
        (folder / "work" / "there.txt").write_text("there")
        self.environment = {
            **os.environ,
            "PAIRLOCK_STATE": str(state),
            "PYTHONPATH": str(CHECKOUT),
            "CI": "true",
        }
        workspace = ["-w", "work"] if "files" in policy.partition("commands")[0] else []
        arguments = ["run", "t", "-p", "p.yaml", *workspace, "-m", "scripted:s.yaml", "--json"]
        take = [] if terminal is None else [sys.executable, "-c", TAKES_TERMINAL, str(terminal)]
        self.process = subprocess.Popen(
            [*take, sys.executable, "-m", "agent_runner", *arguments],
            cwd=folder,
            env=self.environment,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if terminal is None else terminal,
            start_new_session=terminal is not None,
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

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of one type of entry."""
        ledgers = (self.state / "sessions").glob("*/events.jsonl")
        whole = [line for path in ledgers for line in path.read_text().split("\n")[:-1]]
        return [entry["body"] for entry in map(json.loads, whole) if entry["type"] == kind]

    def close(self) -> None:
        """End what is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


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
    started.close()


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
    assert json.loads(out.splitlines()[-1])["status"] == "interrupted"
    assert containers(session.state) == []
    assert verify_session(session.state, name).faults() == {}
    assert session.pairlock("diff", "--name-only").stdout.split() == ["here", "made.txt"]


def test_an_impatient_ctrl_c_changes_nothing(
    session: Session, containers: Callable[[Path], list[str]]
) -> None:
    """Twice: the second finds it closing. Everything is as after one."""
    name = session.until_running()

    session.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    session.process.send_signal(signal.SIGINT)
    out, _ = session.process.communicate(timeout=LONG)

    assert session.process.returncode == 130
    assert json.loads(out.splitlines()[-1])["status"] == "interrupted"
    assert containers(session.state) == []
    assert verify_session(session.state, name).faults() == {}
    assert [entry["status"] for entry in session.entries("session.closed")] == ["interrupted"]


def test_ctrl_c_while_the_container_is_being_made_leaves_none(
    session: Session, containers: Callable[[Path], list[str]]
) -> None:
    """The engine goes on with what it was asked for, so what it made is waited for and removed."""
    wait_for(lambda: session.entries("session.opened"), "the session to begin")

    session.process.send_signal(signal.SIGINT)
    session.process.communicate(timeout=LONG)

    assert session.process.returncode == 130
    assert containers(session.state) == []
    assert [entry["status"] for entry in session.entries("session.closed")] == ["interrupted"]


def test_a_closed_terminal_ends_the_session_in_order(
    tmp_path: Path, new_state: Callable[[], Path], containers: Callable[[Path], list[str]]
) -> None:
    """SIGHUP, and nothing can be written to stderr any more: closed as interrupted all the same."""
    master, terminal = os.openpty()
    session = Session(tmp_path, new_state(), terminal=terminal)
    os.close(terminal)
    try:
        name = session.until_running()

        os.close(master)
        session.process.communicate(timeout=LONG)

        assert session.process.returncode == 130
        assert containers(session.state) == []
        assert verify_session(session.state, name).faults() == {}
        assert [entry["status"] for entry in session.entries("session.closed")] == ["interrupted"]
    finally:
        session.close()


def test_what_an_agent_leaves_in_the_background_is_gone_with_the_session(
    tmp_path: Path, new_state: Callable[[], Path]
) -> None:
    """B99: given away by its parent, it dies with its container."""
    marker = f"9{secrets.randbelow(10**8):08}"
    script = SCRIPT.replace("sleep 300", f"(sleep {marker} &); sleep 300")
    session = Session(tmp_path, new_state(), script=script)
    try:
        session.until_running()
        wait_for(lambda: running_with(marker), "the program in the background")

        session.process.send_signal(signal.SIGTERM)
        session.process.communicate(timeout=LONG)

        assert running_with(marker) == []
    finally:
        session.close()


def running_with(word: str) -> list[str]:
    """Return the processes of this machine that were started with a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
    return found


@pytest.mark.long
def test_a_runner_that_was_stopped_finds_its_sandbox_gone_and_says_why(
    session: Session, containers: Callable[[Path], list[str]]
) -> None:
    """B120: nobody watched, so the guest ended; the runner wakes up, closes the ledger and can be resumed."""
    name = session.until_running()

    session.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not containers(session.state), "the container to go")
    time.sleep(1.0)
    session.process.send_signal(signal.SIGCONT)
    out, _ = session.process.communicate(timeout=LONG)

    account = json.loads(out.splitlines()[-1])
    assert (session.process.returncode, account["status"]) == (130, "interrupted")
    assert "pairlock was stopped for" in account["reason"]
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
