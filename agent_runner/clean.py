"""Remove what sessions left on the engine and in the state folder; never changes that wait for a review."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.container import state_label
from agent_runner.waiting import changes_waiting
from audit.errors import UnknownSessionError
from audit.lock import is_held
from audit.state import StateFiles
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.images import ready_empty
from sandbox.runtime.volume import ready_runtime
from sandbox.stage import discard
from sandbox.stage.layout import StageFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def clean(state: Path, *, unreviewed: bool, everything: bool) -> AsyncIterator[str]:
    """Remove leftovers, and yield a line for each thing removed.

    Args:
        state: The state folder.
        unreviewed: Also throw away changes that nobody has reviewed.
        everything: Also remove the runtime volume and the images that pairlock built.

    Raises:
        sandbox.errors.SandboxError: When the engine does not do as it is asked.
    """
    engine = await DockerEngine.connect()
    try:
        async for line in _containers(engine, state):
            yield line
        async for line in _volumes(engine, state):
            yield line
        async for line in _stages(engine, state, unreviewed=unreviewed):
            yield line
        for name in await remove_built(engine, state=state, current=everything):
            yield f"removed {name}"
    finally:
        await engine.close()


async def _containers(engine: DockerEngine, state: Path) -> AsyncIterator[str]:
    for found in await engine.owned(state=state_label(state)):
        if not _running(state, found.session):
            await engine.remove(found.container_id)
            yield f"removed the container of session {found.session}"


async def _volumes(engine: DockerEngine, state: Path) -> AsyncIterator[str]:
    for name, session in await engine.owned_volumes(state=state_label(state)):
        if not _running(state, session):
            await engine.remove_volume(name)
            yield f"removed the volume {name}"


def _running(state: Path, session: str) -> bool:
    try:
        return is_held(StateFiles(state).session(session).lock)
    except UnknownSessionError:  # what a battery of `doctor --probe` left when it was killed
        return False


async def _stages(engine: DockerEngine, state: Path, *, unreviewed: bool) -> AsyncIterator[str]:
    files = StateFiles(state)
    for session in sorted(files.session_ids()):
        stage = StageFolder(files.session(session).folder / "stage")
        if not stage.path.is_dir() or _running(state, session):
            continue
        waiting = changes_waiting(state, session)
        if waiting and not unreviewed:
            continue
        await _discard(engine, state, files.session(session).folder)
        yield f"removed the stage of session {session}" + (f" with {waiting} changes" if waiting else "")


async def _discard(engine: DockerEngine, state: Path, folder: Path) -> None:
    """Remove a stage; what overlay left in root's name, a container with that folder alone removes."""
    leftover = discard(folder).leftover
    if leftover is None:
        return
    empty = await ready_empty(engine, state=state, progress=_quiet)
    volume = await ready_runtime(engine, state=state, progress=_quiet)
    code = "import os, shutil; [shutil.rmtree(f'/folder/{name}') for name in os.listdir('/folder')]"
    argv = (*volume.argv_prefix[:-1], "-c", code)
    await engine.empty_folder_as_root(leftover, image=empty, guest_volume=volume.name, argv=argv)
    discard(folder)


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
