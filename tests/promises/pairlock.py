"""Run the command line as a person without a terminal does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Said:
    """What came of it."""

    returncode: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Return what was printed as JSON."""
        assert self.returncode == 0, self.stderr
        return json.loads(self.stdout)


def pairlock(*words: str, state: Path, **environment: str) -> Said:
    """Run one command with a state folder of its own.

    Args:
        words: The command line.
        state: The state folder.
        environment: Further variables.
    """
    done = subprocess.run(
        [sys.executable, "-m", "agent_runner", *words],
        env={**os.environ, "PAIRLOCK_STATE": str(state), **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    return Said(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)
