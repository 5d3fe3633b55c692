"""Give the tests of the gateway each dialect of a model's server in turn."""

from __future__ import annotations

from tests.contract.conftest import dialect

__all__ = ["dialect"]
