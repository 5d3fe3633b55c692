"""Hold one container for as long as somebody needs it: made, and destroyed whatever the end is."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox.errors import (
    ContainerEndedError,
    EngineLostError,
    EngineMissingError,
    LinkClosedError,
    SandboxError,
    SandboxLostError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.engine import Engine
    from sandbox.spec import ContainerSpec

GONE_SECONDS: Final = 20.0
"""How long a container may take to be gone, once it is to be removed."""


async def created(engine: Engine, spec: ContainerSpec) -> str:
    """Create a container; when this is cancelled, the engine goes on, so what it made is removed first."""
    creating = asyncio.ensure_future(engine.create(spec))
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        with contextlib.suppress(SandboxError):
            await _destroy(engine, await creating)
        raise


@contextlib.asynccontextmanager
async def destroyed_at_the_end(engine: Engine, container_id: str) -> AsyncIterator[None]:
    """Destroy a container at the end; what ended it is told, and not what became of the destroying.

    Raises:
        EngineLostError: When the sandbox was lost because the engine, or the way there, was.
        ContainerEndedError: When it was lost, and the engine answers.
    """
    try:
        yield
    except BaseException as error:
        gone = error if isinstance(error, EngineMissingError) else None
        try:
            await _to_its_end(asyncio.ensure_future(_destroy(engine, container_id)))
        except EngineMissingError as missing:
            gone = gone or (missing if isinstance(error, SandboxLostError) else None)
        if gone is not None:
            raise EngineLostError(gone.message) from error
        if isinstance(error, LinkClosedError):
            raise ContainerEndedError from error
        raise
    await _to_its_end(asyncio.ensure_future(_destroy(engine, container_id)))


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Wait for a task, to its end even when this is cancelled meanwhile."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _destroy(engine: Engine, container_id: str) -> None:
    await engine.remove(container_id)
    if not await engine.wait_gone(container_id, timeout_seconds=GONE_SECONDS):
        raise SandboxError(
            f"container `{container_id[:12]}` is still there {GONE_SECONDS:.0f} s after its removal",
            hint="`pairlock clean` tries again",
        )
