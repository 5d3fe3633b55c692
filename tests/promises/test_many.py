"""Many runners at once on one workspace and one state folder: none fails, and none is heavy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.many import measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("sessions", [2, pytest.param(20, marks=pytest.mark.long)])
def test_sessions_at_once_all_end_well(tmp_path: Path, new_state: Callable[[], Path], sessions: int) -> None:
    """Exit 0, ledgers that verify, no container left, and each runner under 60 MB while it waits."""
    many = measure(tmp_path, new_state(), sessions)

    largest = max(memory.pss for memory in many.runners)
    sys.stdout.write(f"{sessions} at work after {many.start_seconds:.1f} s; largest {largest:.1f} MB\n")
    assert (tmp_path / "said").read_text().count("done: ") == sessions + 1
    assert many.problems() == []
