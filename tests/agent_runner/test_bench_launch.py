"""What measures a launch leaves nothing behind, and waits for nothing without end."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agent_runner.bench import first_byte
from sandbox.errors import EngineUnfitError
from sandbox.inflow import Inflow

if TYPE_CHECKING:
    from sandbox.docker_engine import DockerEngine
    from sandbox.spec import ContainerSpec

SPEC = cast("ContainerSpec", None)


class Attached:
    """What a container says."""

    def __init__(self, said: bytes) -> None:
        self.reader = Inflow()
        if said:
            self.reader.feed_data(said)

    async def close(self) -> None:
        """Do nothing."""


class OneContainer:
    """An engine with one container, which says some bytes and never ends."""

    def __init__(self, said: bytes, *, starts: bool = True) -> None:
        self._said = said
        self._starts = starts
        self.removed: list[str] = []

    async def create(self, spec: ContainerSpec) -> str:  # noqa: ARG002 - the engine's parameter
        """Return the container."""
        return "c"

    async def attach(self, container: str) -> Attached:  # noqa: ARG002 - the same
        """Return what it says."""
        return Attached(self._said)

    async def start(self, container: str) -> None:  # noqa: ARG002 - the same
        """Start it, or not."""
        if not self._starts:
            raise EngineUnfitError("no room")

    async def remove(self, container: str) -> None:
        """Take note."""
        self.removed.append(container)

    async def wait_gone(self, container: str, *, timeout_seconds: float) -> bool:  # noqa: ARG002 - the same
        """Say that it is gone."""
        return True


@pytest.mark.parametrize(
    ("said", "starts", "told"),
    [(b"", True, "said nothing in"), (b"y", True, "b'y'"), (b"", False, "no room")],
)
async def test_a_container_that_says_nothing_or_does_not_start_is_removed_and_told(
    monkeypatch: pytest.MonkeyPatch, said: bytes, *, starts: bool, told: str
) -> None:
    monkeypatch.setattr(first_byte, "SAYS_WITHIN_SECONDS", 0.05)
    engine = OneContainer(said, starts=starts)

    with pytest.raises(EngineUnfitError, match=told):
        await first_byte.first_byte(cast("DockerEngine", engine), SPEC)

    assert engine.removed == ["c"]


async def test_a_container_that_says_its_byte_is_measured_and_removed() -> None:
    engine = OneContainer(b"x")

    taken = await first_byte.first_byte(cast("DockerEngine", engine), SPEC)

    assert taken >= 0
    assert engine.removed == ["c"]
