"""Run pairlock's audit commands in this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from agent_runner.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.audit.recording import Run


def runner_on(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """Return what runs audit commands on a state folder; none of them ends with a fault of pairlock's own."""
    monkeypatch.setenv("PAIRLOCK_STATE", str(state))

    def pairlock(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pairlock", "audit", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsysbinary.readouterr()
        assert b"Traceback" not in err
        assert b"fault of pairlock" not in err
        return int(left.value.code or 0), out.decode(), err.decode()

    return pairlock
