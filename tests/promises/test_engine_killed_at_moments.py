"""An engine killed while a session starts, while it waits for a person, or while it ends: resume goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from audit.verify import verify_session
from tests.promises.life import CHECKOUT
from tests.promises.second_engine import LONG, SecondEngine, wait_for
from tests.promises.test_engines_trouble import IMAGE, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="a second engine needs root"),
]
POLICY = f"""\
version: 1
name: p
grant: [files, exec]
exec: {{programs: any, image: {IMAGE}}}
commands: {{allow: ["files *", run], ask: ["files remove"]}}
"""
SCRIPT = """\
version: 1
turns:
  - actions: [{command: files write made.txt, content: made}]
  - actions: [files remove there.txt]
  - actions: ["finish --status done ready"]
"""
Entries = list[dict[str, Any]]


@pytest.fixture(scope="module")
def engine() -> Iterator[SecondEngine]:
    """Start an engine."""
    with SecondEngine() as started:
        yield started


class Runner:
    """`pairlock run` on that engine, reachable by a socket of its own, and not in CI."""

    def __init__(self, engine: SecondEngine, folder: Path) -> None:
        self.state = folder / "state"
        self._folder = folder
        (folder / "run").mkdir(mode=0o700)
        (folder / "work").mkdir()
        (folder / "work" / "there.txt").write_text("there")
        (folder / "p.yaml").write_text(POLICY)
        (folder / "s.yaml").write_text(SCRIPT)
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "CI"},
            "PAIRLOCK_STATE": str(self.state),
            "PYTHONPATH": str(CHECKOUT),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "DOCKER_HOST": engine.host,
        }

    def pairlock(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "agent_runner", *words],
            cwd=self._folder,
            env=self._environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONG * 3,
        )

    def detached(self) -> str:
        """Start a session in the background, and return its id."""
        words = ["run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml", "--detach"]
        started = self.pairlock(*words)
        assert started.returncode == 0, started.stderr
        return started.stdout.strip()

    def entries(self, session: str) -> Entries:
        """Return the session's entries so far."""
        file = self.state / "sessions" / session / "events.jsonl"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def has(self, session: str, kind: str, number: int = 1) -> Callable[[], bool]:
        """Return what tells whether the ledger has so many entries of a type."""
        return lambda: [entry["type"] for entry in self.entries(session)].count(kind) >= number

    def closed(self, session: str) -> dict[str, Any]:
        """Return the session's end, once it is there."""
        wait_for(self.has(session, "session.closed"), "the session's end", seconds=LONG * 2)
        return next(e["body"] for e in reversed(self.entries(session)) if e["type"] == "session.closed")


@pytest.fixture
def runner(engine: SecondEngine, tmp_path: Path) -> Runner:
    """Return a place for sessions on the engine, with all built there that one needs."""
    runner = Runner(engine, tmp_path)
    runner.state.mkdir(mode=0o700)
    asyncio.run(build(engine.host, runner.state))
    return runner


def restarted(engine: SecondEngine) -> None:
    """Kill the engine, and start it again."""
    engine.end(signal.SIGKILL)
    engine.start()


def nothing_is_left(engine: SecondEngine, runner: Runner, session: str) -> None:
    """See that the ledger holds, the change is there for a review, and nothing else is."""
    assert verify_session(runner.state, session).faults() == {}
    changed = runner.pairlock("diff", "--name-only", session)
    cleaned = runner.pairlock("clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "made.txt" in changed.stdout.split()
    wait_for(lambda: not engine.docker("ps", "-aq"), "the last container to go")


@pytest.mark.parametrize("moment", ["session.opened", "sandbox.created"])
def test_killed_while_a_session_starts_it_costs_the_start_alone(
    engine: SecondEngine, runner: Runner, moment: str
) -> None:
    """Exit 4 where it came too early; once the engine is back, resume goes on from the first turn."""
    session = runner.detached()
    wait_for(runner.has(session, moment), moment)
    restarted(engine)
    closed = runner.closed(session)

    resumed = runner.pairlock("resume", session, CI="true")

    assert (closed["status"], closed["exit_code"]) == ("sandbox_failed", 4), closed
    assert resumed.returncode == 0, resumed.stderr
    nothing_is_left(engine, runner, session)


def test_killed_while_a_session_waits_for_a_person_it_ends_at_once_and_nothing_is_approved(
    engine: SecondEngine, runner: Runner
) -> None:
    """Nobody's answer is made up; resumed where nobody can be asked, what was asked about is denied."""
    session = runner.detached()
    wait_for(runner.has(session, "approval.requested"), "the question")
    restarted(engine)
    closed = runner.closed(session)
    late = runner.pairlock("approve", session)

    resumed = runner.pairlock("resume", session, CI="true")

    kinds = [entry["type"] for entry in runner.entries(session)]
    assert (closed["status"], closed["exit_code"]) == ("sandbox_failed", 4), closed
    assert late.returncode == 2
    assert f"no runner of session `{session}` listens" in late.stderr
    assert resumed.returncode == 0, resumed.stderr
    assert (kinds.count("approval.requested"), kinds.count("approval.answered")) == (1, 0)
    nothing_is_left(engine, runner, session)
    assert "there.txt" not in runner.pairlock("diff", "--name-only", session).stdout


def test_killed_while_a_session_ends_its_work_is_there(engine: SecondEngine, runner: Runner) -> None:
    """It is done, or has still to be ended; which of them the ledger says, and the stage is whole."""
    session = runner.detached()
    wait_for(runner.has(session, "approval.requested"), "the question")
    shown = runner.pairlock("approve", session).stderr
    runner.pairlock("approve", session, shown.split("`")[1].split()[-1])
    wait_for(runner.has(session, "action.intended", 3), "the last action")
    restarted(engine)
    closed = runner.closed(session)

    resumed = runner.pairlock("resume", session, CI="true")

    if closed["status"] == "done":
        assert f"session `{session}` is over" in resumed.stderr
    else:
        assert (closed["exit_code"], resumed.returncode) == (4, 0), resumed.stderr
    nothing_is_left(engine, runner, session)
    assert "there.txt" in runner.pairlock("diff", "--name-only", session).stdout
