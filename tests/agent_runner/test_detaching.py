"""Whoever starts a session without its terminal is told how it began, or why it did not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DETACHED = """
import os, sys
from pathlib import Path
from agent_runner.detach import go_on_alone
from audit.state import StateFiles
state = Path(sys.argv[1])
go_on_alone("0123456789ab", state, say=print)
sys.stderr.write("pairlock: no\\n")
sys.stderr.flush()
exec(sys.argv[2])
"""
BEGINS = """
events = StateFiles(state).session("0123456789ab").events
events.parent.mkdir(parents=True)
events.touch()
"""


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.kill(os.getpid(), 9)", (1, "", "no; signal 9 ended the session's process before it began")),
        ("os._exit(3)", (3, "", "no")),
        (BEGINS, (0, "0123456789ab\n", "")),
    ],
    ids=["killed", "refused", "begun"],
)
def test_the_one_that_was_called_ends_as_its_session_began(
    tmp_path: Path, does: str, told: tuple[int, str, str]
) -> None:
    """With a documented code, also where a signal ended it: a shell would have been told 247, and no word."""
    (tmp_path / "state").mkdir(mode=0o700)

    done = subprocess.run(
        [sys.executable, "-c", DETACHED, str(tmp_path / "state"), does],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    said = "; ".join(line.removeprefix("pairlock: ") for line in done.stderr.splitlines())
    assert (done.returncode, done.stdout, said) == told
