"""Build the images that sessions run: the empty one, and the starter, from what this machine has."""

from __future__ import annotations

import asyncio
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.runtime.record import RecordFile

if TYPE_CHECKING:
    from sandbox.runtime.engine import Progress, RuntimeEngine

EMPTY_TAG = "pairlock/empty:latest"
"""For people who look at the engine's list; the image is used by its id only."""


async def ready_empty(engine: RuntimeEngine, *, state: Path, progress: Progress) -> str:
    """Return the id of the image without a file in it, made now if it is not there.

    Args:
        engine: Where it is to be.
        state: The state folder.
        progress: Told when it is made.

    Raises:
        RuntimeBuildError: When the state folder cannot be written.
        SandboxError: When the engine does not do as it is asked.
    """
    file = RecordFile(state, await engine.engine_id())
    async with file.locked():
        known = file.read().empty
        if known is not None and await engine.image_id(known) == known:
            return known
        progress("making the empty image", done=0, total=1)
        with tempfile.TemporaryDirectory(prefix="pairlock-") as folder:
            tar = Path(folder) / "empty.tar"
            await asyncio.to_thread(_write_empty, tar)
            image = await engine.import_image(tar, tag=EMPTY_TAG)
        file.write(file.read().model_copy(update={"empty": image}))
        return image


def _write_empty(target: Path) -> None:
    with tarfile.open(target, "w"):
        pass
