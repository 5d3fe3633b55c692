"""What a killed process was making on its way is found by `pairlock clean`, and nobody else's is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.clean import Cleaned, Cleaning, clean
from agent_runner.state_label import errands_of, state_label
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.images import ready_empty
from sandbox.runtime.volume import ready_runtime
from tests.promises.hanging_errands import ERRANDS
from tests.sandbox.live import docker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.errors import SandboxError

pytestmark = pytest.mark.engine
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give sockets and links a folder of their own: what others leave in theirs is found, too."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


async def test_what_a_killed_process_was_making_goes_and_what_a_living_one_makes_stays(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """Containers between create and start, an image between its import and the record, a root's errand."""
    state, volume = new_state(), f"pairlock-test-{os.urandom(8).hex()}"
    engine = await DockerEngine.connect()
    image = await ready_empty(engine, state=state, progress=_quiet)
    runtime = (await ready_runtime(engine, state=state, progress=_quiet)).name
    await engine.create_volume(volume, labels={})
    arguments = [str(state), image, runtime, volume, str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.promises.hanging_errands", *arguments),
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
    )
    try:
        await _all_begun(state, process)
        other = await _cleaned(new_state())
        living = await _cleaned(state)
        process.kill()
        await process.communicate()
        would = await _cleaned(state, dry_run=True)
        dead = await _cleaned(state)

        assert (_own(state, other), _own(state, living)) == ({}, {})
        assert list(_own(state, would)) == list(_own(state, dead))
        assert list(_own(state, dead).values()) == [None] * ERRANDS
        assert await _made_by(state) == set()
        assert list((state / "errands").iterdir()) == []
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        await _cleaned(state)
        await engine.remove_volume(volume)
        await engine.close()


async def test_an_errand_that_ends_leaves_neither_name_nor_lock(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """And an image that somebody has named meanwhile stays."""
    state, tag = new_state(), f"pairlock-test/{os.urandom(8).hex()}:latest"
    lost: list[str] = []
    engine = await DockerEngine.connect(errands=errands_of(state))
    empty = await ready_empty(engine, state=state, progress=_quiet)
    tar = tmp_path / "empty.tar"
    tar.write_bytes(bytes(10240))
    try:
        await engine.path_kinds(empty, ("/", "/etc"))
        async with engine.making() as name:
            kept = await engine.import_image(tar, tag=name)
            await engine.tag_image(kept, tag)
        with pytest.raises(ZeroDivisionError):
            await _failing(engine, tar, lost)

        assert await _made_by(state) == set()
        assert list((state / "errands").iterdir()) == []
        assert (await engine.image_id(tag), [await engine.image_id(image) for image in lost]) == (
            kept,
            [None],
        )
    finally:
        await engine.remove_image(tag)
        await engine.close()


async def _failing(engine: DockerEngine, tar: Path, lost: list[str]) -> None:
    async with engine.making() as name:
        lost.append(await engine.import_image(tar, tag=name))
        raise ZeroDivisionError


async def _all_begun(state: Path, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(120):
        while len(await _made_by(state)) < ERRANDS:
            assert process.returncode is None, (await process.communicate())[1].decode()
            await asyncio.sleep(0.1)


async def _made_by(state: Path) -> set[str]:
    """Return the names of containers and images that carry the state folder's label."""
    containers = await docker("ps", "-a", "--format", "{{.Names}}", "--filter", "name=pairlock-errand-")
    images = await docker("images", "pairlock/making", "--format", "{{.Repository}}:{{.Tag}}")
    return {name for name in (*containers.split(), *images.split()) if state_label(state) in name}


def _own(state: Path, cleaned: list[Cleaned]) -> dict[str, SandboxError | None]:
    """Return the state folder's own of what was found, and why it could not be removed."""
    return {found.name: found.error for found in cleaned if state_label(state) in found.name}


async def _cleaned(state: Path, *, dry_run: bool = False) -> list[Cleaned]:
    return [found async for found in clean(state, Cleaning(dry_run=dry_run))]


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
