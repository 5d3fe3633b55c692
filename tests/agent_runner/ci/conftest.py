"""Give each test a project of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.ci.task_stand import Project, project_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return the project."""
    return project_in(tmp_path)
