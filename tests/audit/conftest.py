"""Fixtures of the ledger's tests."""

from pathlib import Path

import pytest

from tests.audit.samples import Recorder, Samples, TurnableClock


@pytest.fixture
def samples() -> Samples:
    return Samples()


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def recorder(state: Path) -> Recorder:
    return Recorder(state)
