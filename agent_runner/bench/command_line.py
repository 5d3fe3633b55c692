"""Measure how long `pairlock --help` takes, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

import agent_runner
from agent_runner.bench.row import Row, timed

ROUNDS: Final = 15
# SAFETY: -P, since the current folder may be one that an agent has written in: nothing is imported from it.
_PYTHON: Final = (sys.executable, "-P", "-c")
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from agent_runner.cli.entry import start; start()"
)
"""What the installed script does."""
FLOOR: Final = (*_PYTHON, "pass")
HELP: Final = (*_PYTHON, _PROGRAM, str(Path(agent_runner.__file__).parent.parent), "--help")


def command_line_row() -> Row:
    """Return the time of the help; the two are measured by turns."""
    floor, ours = [], []
    for _ in range(ROUNDS):
        floor.append(timed(lambda: _run(FLOOR), 1))
        ours.append(timed(lambda: _run(HELP), 1))
    return Row(name="pairlock --help", unit="ms", ours=median(ours), floor=median(floor), most=150.0)


def _run(argv: tuple[str, ...]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
