"""Give tests a place to open real containers in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.live import Ground

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ground(built: Path, tmp_path: Path) -> Ground:
    """Return a place where containers are opened, with everything built already."""
    return Ground(state=built, folder=tmp_path, opened=[])
