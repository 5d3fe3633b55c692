"""A workspace of 100,000 files starts in the time of one with 10, but for one lstat for each path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.long]


def test_the_number_of_files_does_not_count_without_the_scan(new_state: Callable[[], Path]) -> None:
    """Measured side by side in one run, on the overlay; the ratio is held, no absolute time is."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workspace", str(new_state())],
        env={**os.environ, "PAIRLOCK_BENCH_ROUNDS": "3"}, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip

    assert done.stdout, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["strategies"] == ["Overlay"]
    assert told["ratio"] <= 3.0, done.stdout
