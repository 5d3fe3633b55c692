"""Many tasks at once: none lost, none heavy, nothing left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.ci.many_tasks import measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine
LARGEST_MB = 110.0
"""Of one process, while it renders a report."""


@pytest.mark.long
def test_tasks_at_once_all_end_well_and_leave_nothing(tmp_path: Path, new_state: Callable[[], Path]) -> None:
    """12 tasks, 6 at once; by hand 50 and 20, as the stand's page says."""
    many = measure(tmp_path, new_state(), tasks=12, jobs=6, seconds=10)

    sys.stdout.write(f"{many.seconds:.0f} s; largest {many.largest_mb:.0f} MB, all {many.all_mb:.0f} MB\n")
    assert (many.code, [task["verdict"] for task in many.tasks]) == (0, ["passed"] * 12)
    assert len({task["session"] for task in many.tasks}) == 12
    assert all(task["verifies"] for task in many.tasks)
    assert 1 < many.at_once <= 6
    assert many.largest_mb < LARGEST_MB
    assert (many.left, many.temporary) == ([], [])
