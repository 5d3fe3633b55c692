"""A session whose runner was killed goes on in a container of its own, on the stage that it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.verify import verify_session

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.engine
CHECKOUT = Path(__file__).resolve().parents[2]
LONG = 120.0
POLICY = """\
version: 1
name: p
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
budget: {turns: 3}
"""
SCRIPT = """\
version: 1
turns:
  - actions: [{command: files write made.txt, content: made}]
  - actions: ["run sh -c 'echo started >here; sleep 300'", "run sh -c 'cat made.txt here >both'"]
  - actions: [files remove there.txt]
  - actions: ["finish --status done"]
"""


def pairlock(state: Path, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start pairlock."""
    environment = {**os.environ, "PAIRLOCK_STATE": str(state), "PYTHONPATH": str(CHECKOUT), "CI": "true"}
    return subprocess.Popen(
        [sys.executable, "-m", "agent_runner", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit code and what was said."""
    out, err = process.communicate(timeout=LONG)
    return process.returncode, out, err


def test_a_killed_session_goes_on_with_what_it_wrote_and_repeats_nothing(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """SIGKILL in mid-action; the action is told as unknown, and what rested on it is not done."""
    state = new_state()
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "s.yaml").write_text(SCRIPT)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "there.txt").write_text("there")
    arguments = ["run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml"]
    runner = pairlock(state, tmp_path, *arguments)
    deadline = time.monotonic() + LONG
    while not list((state / "sessions").glob("*/stage/upper/here")):
        assert runner.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    runner.kill()
    runner.communicate()

    spent = done(pairlock(state, tmp_path, "resume", "last"))
    ended = done(pairlock(state, tmp_path, "resume", "last", "--add-budget", "turns=2", "--json"))
    over = done(pairlock(state, tmp_path, "resume", "last"))
    changed = done(pairlock(state, tmp_path, "diff", "last", "--name-only"))

    assert (spent[0], ended[0]) == (5, 0), spent[2] + ended[2]
    account = json.loads(ended[1].splitlines()[-1])
    session = account["session"]
    lines = (state / "sessions" / session / "events.jsonl").read_text().splitlines()
    outcomes = [
        entry["body"]["outcome"] for entry in map(json.loads, lines) if entry["type"] == "action.finished"
    ]
    assert account["status"] == "done"
    assert account["totals"]["turns"] == 4
    assert outcomes == ["ok", "unknown", "ok", "ok"]
    assert changed[1].split() == ["here", "made.txt", "there.txt"]
    assert over[0] == 2
    assert "is over: it ended as `done`" in over[2]
    assert verify_session(state, session).faults() == {}
