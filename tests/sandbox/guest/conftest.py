"""What the guest's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.guest.launch import reachable_folder
from tests.sandbox.guest.shared_folder import SHADOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder that another user can reach: pytest's own is closed again by every run that starts."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a folder beside a file that must never be reached from it."""
    (tmp_path / "outside").write_bytes(SHADOW)
    (tmp_path / "outside").chmod(0o666)
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder
