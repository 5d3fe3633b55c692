"""Give the tests that need an engine one runtime volume and one starter image; remove both at the end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineRefusedError
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.images import ready_empty, ready_starter
from sandbox.runtime.volume import ready_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUILT = "pairlock-built"

# The machine is shared: how long an example takes says nothing about the code.
settings.register_profile("pairlock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pairlock")


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the workers of one run share."""
    base = factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder in which everything that is built on first use is built."""
    state = shared_folder(tmp_path_factory) / BUILT
    state.mkdir(mode=0o700, exist_ok=True)
    asyncio.run(_build(state))
    return state


async def _build(state: Path) -> None:
    engine = await DockerEngine.connect()
    try:
        await ready_empty(engine, state=state, progress=_quiet)
        await ready_runtime(engine, state=state, progress=_quiet)
        await ready_starter(engine, state=state, progress=_quiet)
    finally:
        await engine.close()


@pytest.fixture
def new_state(built: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Return a maker of state folders of their own, in which nothing has to be built; what is, goes again."""
    made: list[Path] = []

    def make() -> Path:
        state = tmp_path / f"state-{len(made) + 1}"
        state.mkdir(mode=0o700)
        shutil.copytree(built / "engines", state / "engines")
        made.append(state)
        return state

    yield make
    for state in made:
        if own := _recorded(state) - _recorded(built):
            asyncio.run(_remove_things(own))


def _recorded(state: Path) -> set[str]:
    """Return the volumes and images that a state folder's records name as built there."""
    found: set[str] = set()
    for file in (state / "engines").glob("*.json"):
        record = json.loads(file.read_bytes())
        found |= {record[name]["name"] for name in ("runtime", "starter", "node") if record[name]}
        found |= {record["empty"], *(made["image"] for made in record["made"])} - {None}
        found |= {*record["outdated_volumes"], *record["outdated_images"]}
    return found


async def _remove_things(names: set[str]) -> None:
    """Remove what a test's own state had to build, because the shared one was out of date or gone."""
    engine = await DockerEngine.connect()
    try:
        for name in names:
            remove = engine.remove_image if name.startswith("sha256:") else engine.remove_volume
            with suppress(EngineRefusedError):  # another test uses it
                await remove(name)
    finally:
        await engine.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove what the run built, when the last of its workers has ended."""
    if hasattr(session.config, "workerinput"):
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # pytest's own way to it from a hook
    state = factory.getbasetemp() / BUILT
    if state.is_dir():
        asyncio.run(_remove(state))


async def _remove(state: Path) -> None:
    engine = await DockerEngine.connect()
    try:
        await remove_built(engine, state=state, current=True)
    finally:
        await engine.close()


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
