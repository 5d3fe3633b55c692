"""Remove from an engine what was built on it; nothing that somebody else made, and nothing in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.errors import EngineRefusedError
from sandbox.runtime.record import EngineRecord, RecordFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sandbox.runtime.engine import RuntimeEngine


async def remove_built(engine: RuntimeEngine, *, state: Path, current: bool) -> tuple[str, ...]:
    """Remove the volumes and images that the record names, and return those that are gone.

    Args:
        engine: Where they are.
        state: The state folder.
        current: Whether those that the next session would use go too; else only those that were replaced.

    Raises:
        RuntimeBuildError: When the state folder cannot be written.
        SandboxError: When the engine does not answer.
    """
    file = RecordFile(state, await engine.engine_id())
    async with file.locked():
        record = _all_outdated(file.read()) if current else file.read()
        volumes = await _removed(record.outdated_volumes, engine.remove_volume)
        images = await _removed(record.outdated_images, engine.remove_image)
        file.write(
            record.model_copy(
                update={
                    "outdated_volumes": tuple(
                        name for name in record.outdated_volumes if name not in volumes
                    ),
                    "outdated_images": tuple(name for name in record.outdated_images if name not in images),
                }
            )
        )
    return volumes + images


async def built_names(engine: RuntimeEngine, *, state: Path, current: bool) -> tuple[str, ...]:
    """Return what `remove_built` would try to remove; it takes and raises the same."""
    file = RecordFile(state, await engine.engine_id())
    async with file.locked():
        record = _all_outdated(file.read()) if current else file.read()
    return record.outdated_volumes + record.outdated_images


def _all_outdated(record: EngineRecord) -> EngineRecord:
    volumes = (record.runtime.name,) if record.runtime else ()
    images = tuple(built.name for built in (record.node, record.starter) if built is not None)
    empty = (record.empty,) if record.empty else ()
    made = tuple(image.image for image in record.made)
    return EngineRecord(
        outdated_volumes=record.outdated_volumes + volumes,
        outdated_images=record.outdated_images + made + images + empty,
        known=record.known,
    )


async def _removed(names: tuple[str, ...], remove: Callable[[str], Awaitable[None]]) -> tuple[str, ...]:
    gone: list[str] = []
    for name in names:
        try:
            await remove(name)
        except EngineRefusedError:
            continue  # a session still uses it
        gone.append(name)
    return tuple(gone)
