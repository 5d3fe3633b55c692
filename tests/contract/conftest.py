"""Give the tests of the contract each API in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.model_server import (
        Dialect,
    )


@pytest.fixture(params=["chat", "messages"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Return each API in turn."""
    value: Dialect = request.param
    return value
