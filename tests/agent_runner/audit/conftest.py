"""Run pairlock's audit commands in this process, on a state with sessions in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from agent_runner.cli.main import main
from tests.agent_runner.audit.recording import HOSTILE, OTHER, READ, WRITE, record
from tests.audit.samples import SESSION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.audit.recording import Run


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run pairlock in this process and return its exit code, stdout and stderr."""
    monkeypatch.setenv("PAIRLOCK_STATE", str(state))

    def pairlock(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pairlock", "audit", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsysbinary.readouterr()
        assert b"Traceback" not in err
        return int(left.value.code or 0), out.decode(), err.decode()

    return pairlock


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return where the sessions are."""
    return tmp_path / "state"


@pytest.fixture
async def recorded(state: Path) -> Path:
    """Return the state with two sessions, of which the second was denied its writing."""
    await record(state, SESSION, READ, ("files", "remove", HOSTILE.replace("\ud800", "")))
    await record(state, OTHER, READ, WRITE, denied="write")
    return state
