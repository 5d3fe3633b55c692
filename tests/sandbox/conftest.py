"""Give tests a place to open real containers in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.live import Ground
from tests.sandbox.runtime_setting import Setting, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker


@pytest.fixture
def ground(built: Path, tmp_path: Path) -> Ground:
    """Return a place where containers are opened, with everything built already."""
    return Ground(state=built, folder=tmp_path, opened=[])


@pytest.fixture(scope="session")
def setting(built: Path) -> Setting:
    """Return the runtime volume and the images that the run shares."""
    return asyncio.run(build(built))


@pytest.fixture
def docker_client() -> Iterator[docker.DockerClient]:
    """The SDK, for what no engine of ours would do: run containers without any of its precautions."""
    import docker

    client = docker.from_env()
    yield client
    client.close()
