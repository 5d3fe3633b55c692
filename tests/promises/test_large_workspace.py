"""A workspace of 100,000 files is held by the overlay, as one with 10 is."""

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


def test_a_hundred_thousand_files_take_the_overlay(new_state: Callable[[], Path]) -> None:
    """No file of the workspace is copied; times are the benchmark's, for a quiet machine."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workspace", str(new_state())],
        env={**os.environ, "PAIRLOCK_BENCH_ROUNDS": "1"}, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip

    assert done.stdout, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["strategies"] == ["Overlay"]
