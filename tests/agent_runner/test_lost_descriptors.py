"""A closed terminal, pipe or descriptor costs what was said there, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.state import StateFiles
from audit.verify import verify_session

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[2]
POLICY = "version: 1\nname: p\ngrant: [files]\ncommands: {allow: ['files *']}\n"
SCRIPT = "version: 1\nturns:\n  - actions: ['finish --status done']\n"


@pytest.fixture
def pairlock(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return a runner of a session that finds no engine, its descriptors redirected by a shell."""
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "s.yaml").write_text(SCRIPT)
    (tmp_path / "work").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CHECKOUT),
        "PAIRLOCK_STATE": str(tmp_path / "state"),
        "DOCKER_HOST": "unix:///nowhere.sock",
    }
    line = f"{sys.executable} -m agent_runner run t -p p.yaml -w work -m scripted:s.yaml --json"

    def run(redirected: str) -> subprocess.CompletedProcess[str]:
        words = ["bash", "-c", f"{line} {redirected}"]
        return subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    return run


def only_session(state: Path) -> str:
    """Return the one session's id."""
    (session,) = StateFiles(state).session_ids()
    return session


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "<&- 2>&-", "2> >(exec 0<&-; sleep 1)"])
def test_without_stderr_the_session_goes_on_and_stdout_is_data_alone(
    pairlock: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path, redirected: str
) -> None:
    """What was for stderr goes nowhere: neither to stdout nor into a file that took its number."""
    done = pairlock(redirected)

    *entries, account = map(json.loads, done.stdout.splitlines())
    assert [entry["seq"] for entry in entries] == list(range(len(entries)))
    assert (done.returncode, account["status"]) == (4, "sandbox_failed")
    assert verify_session(tmp_path / "state", only_session(tmp_path / "state")).faults() == {}


def test_without_stdout_the_session_goes_on(
    pairlock: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A closed descriptor 1 is no ledger's number."""
    done = pairlock(">&-")

    assert done.returncode == 4
    assert verify_session(tmp_path / "state", only_session(tmp_path / "state")).faults() == {}


def test_a_reader_that_has_gone_is_a_failure_after_the_session_was_closed(
    pairlock: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """EPIPE: the account could not be delivered; the ledger is whole, and there is no traceback."""
    done = pairlock("> >(exec 0<&-; sleep 1)")

    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert verify_session(tmp_path / "state", only_session(tmp_path / "state")).faults() == {}


@pytest.mark.parametrize("words", ["policy list", "policy schema", "--version"])
def test_a_full_disk_behind_stdout_is_one_line_and_exit_1(tmp_path: Path, words: str) -> None:
    """Python's own complaint at its end would be two more lines, and a code that no table has."""

    def pairlock(place: str) -> subprocess.CompletedProcess[str]:
        line = f"{sys.executable} -m agent_runner {words} > {place}"
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path)}
        return subprocess.run(
            ["bash", "-c", line], env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    full, free = pairlock("/dev/full"), pairlock(str(tmp_path / "out"))

    assert full.returncode == 1
    assert re.fullmatch("pairlock: (stdout: )?no space left on device\n", full.stderr)
    assert (free.returncode, free.stderr) == (0, "")
    assert (tmp_path / "out").stat().st_size > 0
