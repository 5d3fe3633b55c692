"""Run pairlock's audit commands in this process, on a state with sessions in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.audit.recording import HOSTILE, OTHER, READ, WRITE, record
from tests.agent_runner.audit.running import runner_on
from tests.audit.samples import SESSION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.audit.recording import Run


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return what runs audit commands in this process: exit code, stdout and stderr."""
    return runner_on(state, monkeypatch, capsysbinary)


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
