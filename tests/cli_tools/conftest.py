"""Give each test a place with a `workspace` in it, which the guest's user can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place() -> Iterator[Path]:
    """Return the place."""
    with reachable_folder() as folder:
        (folder / "workspace").mkdir()
        yield folder
