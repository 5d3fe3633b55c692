"""A detached session is answered and stopped from another terminal, and goes on after that."""

from __future__ import annotations

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
grant: [files]
commands: {allow: ["files *"], ask: ["files remove"]}
"""
SCRIPT = """\
version: 1
turns:
  - actions: [files remove a]
  - actions: [files remove b]
  - actions: ["finish --status done"]
"""


def test_a_detached_session_is_approved_stopped_and_resumed(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """The first removal is approved; at the second the session is stopped, and goes on."""
    state = new_state()
    for name, text in (("p.yaml", POLICY), ("s.yaml", SCRIPT)):
        (tmp_path / name).write_text(text)
    (tmp_path / "work").mkdir()
    for name in ("a", "b"):
        (tmp_path / "work" / name).write_text(name)
    (tmp_path / "run").mkdir(mode=0o700)
    ours = {
        "PAIRLOCK_STATE": str(state),
        "PYTHONPATH": str(CHECKOUT),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }
    environment = {**{k: v for k, v in os.environ.items() if k != "CI"}, **ours}

    def pairlock(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent_runner", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONG,
        )

    def asked(session: str, number: int) -> str:
        deadline = time.monotonic() + LONG
        while f"{session}/{number}@" not in (shown := pairlock("approve", session)).stderr:
            assert time.monotonic() < deadline, shown.stderr
        return shown.stderr.split("`")[1].split()[-1]

    started = pairlock("run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml", "--detach")
    session = started.stdout.strip()
    approved = pairlock("approve", session, asked(session, 1))
    asked(session, 2)
    stopped = pairlock("stop", session)
    shown = pairlock("attach", session)
    resumed = pairlock("resume", session)

    assert (started.returncode, approved.returncode) == (0, 0), started.stderr + approved.stderr
    assert stopped.returncode == 0, stopped.stderr
    assert "interrupted" in shown.stdout
    assert resumed.returncode == 0, resumed.stderr
    assert pairlock("diff", session, "--name-only").stdout.split() == ["a"]
    assert verify_session(state, session).faults() == {}
