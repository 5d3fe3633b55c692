"""Give each test a workspace and a state folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.review.made import Made

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return an empty workspace and a state folder."""
    made = Made(tmp_path)
    made.workspace.mkdir()
    made.state.mkdir(mode=0o700)
    return made
