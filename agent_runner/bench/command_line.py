"""Measure how long `pairlock --help` takes, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from typing import Final

from agent_runner.bench.row import Row, timed

ROUNDS: Final = 15
FLOOR: Final = (sys.executable, "-c", "pass")
HELP: Final = (sys.executable, "-m", "agent_runner", "--help")


def command_line_row() -> Row:
    """Return the time of the help; the two are measured by turns."""
    floor, ours = [], []
    for _ in range(ROUNDS):
        floor.append(timed(lambda: _run(FLOOR), 1))
        ours.append(timed(lambda: _run(HELP), 1))
    return Row(name="pairlock --help", unit="ms", ours=median(ours), floor=median(floor), most=150.0)


def _run(argv: tuple[str, ...]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
