"""Remove what sessions left, or say what would be removed; ledgers stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.leftovers import leftovers
from agent_runner.state_label import errands_of
from audit.state import prepare
from sandbox.docker_engine import DockerEngine
from sandbox.errors import SandboxError
from sandbox.runtime.cleaning import built_names, remove_built

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What is to be cleaned away."""

    unreviewed: bool = False
    """Also throw away changes that nobody has reviewed."""
    everything: bool = False
    """Also remove the runtime volume and the images that pairlock built."""
    dry_run: bool = False
    """Only say what would be removed."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of one leftover."""

    name: str
    error: SandboxError | None = None
    """Why it is still there; None when it is gone, or would be."""
    kept: str = ""
    """Why it was not to go; empty for what was."""


async def clean(state: Path, wanted: Cleaning) -> AsyncIterator[Cleaned]:
    """Remove leftovers one by one; one that does not go keeps no other from going.

    Args:
        state: The state folder.
        wanted: What is to go.

    Raises:
        sandbox.errors.SandboxError: When no engine answers.
        audit.errors.StateFolderError: When the state folder is not this user's.
    """
    prepare(state)
    errands = errands_of(state)
    engine = await DockerEngine.connect(errands=errands)
    try:
        async for leftover in leftovers(engine, state, unreviewed=wanted.unreviewed):
            if leftover.kept:
                yield Cleaned(leftover.name, kept=leftover.kept)
                continue
            try:
                kept = None if wanted.dry_run else await leftover.remove()
                yield Cleaned(leftover.name, kept=kept or "")
            except SandboxError as error:
                yield Cleaned(leftover.name, error)
        if not wanted.dry_run:
            errands.forget()
        built = built_names if wanted.dry_run else remove_built
        for name in await built(engine, state=state, current=wanted.everything):
            yield Cleaned(name)
    finally:
        await engine.close()
