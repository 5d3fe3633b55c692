"""Give each test a stand of its own, in a folder that the guest's user can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.stand import Stand
from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Return the stand."""
    with reachable_folder() as folder:
        (folder / "workspace").mkdir()
        yield Stand(folder)
