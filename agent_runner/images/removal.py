"""Remove images that pairlock made, and no others; what a session still uses stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError
from agent_runner.images.acceptance import append
from agent_runner.person import who
from audit.host_event import ImageRemoved
from sandbox.runtime.images import EMPTY_TAG, STARTER_TAG
from sandbox.runtime.node import NODE_TAG
from sandbox.runtime.record import RecordFile

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.docker_engine import DockerEngine
    from sandbox.runtime.record import EngineRecord

SHORTEST_ID = 6


def own_images(record: EngineRecord) -> dict[str, str]:
    """Return name and id of every image that pairlock made on an engine and has not replaced."""
    found = {made.name: made.image for made in record.made}
    if record.node:
        found[NODE_TAG] = record.node.name
    if record.starter:
        found[STARTER_TAG] = record.starter.name
    if record.empty:
        found[EMPTY_TAG] = record.empty
    return found


def find_own(record: EngineRecord, given: str) -> tuple[str, str]:
    """Return name and id of the image that a person means.

    Args:
        record: The engine's record.
        given: Its name, with or without `:latest`, or the beginning of its id.

    Raises:
        InvalidInputError: When it is none that pairlock made.
    """
    own = own_images(record)
    for name, image in own.items():
        if given in (name, name.removesuffix(":latest")):
            return name, image
    digits = given.removeprefix("sha256:")
    found = [pair for pair in own.items() if pair[1].removeprefix("sha256:").startswith(digits)]
    if len(digits) >= SHORTEST_ID and len(found) == 1:
        return found[0]
    raise InvalidInputError(
        f"`{given}` is no image that pairlock made on this engine",
        hint="`pairlock image list` shows them; others are the engine's: `docker rmi`",
    )


async def remove(engine: DockerEngine, state: Path, name: str, image: str) -> None:
    """Remove one image of ours, and forget it.

    Raises:
        sandbox.errors.EngineRefusedError: When a session still uses it.
        audit.errors.LedgerError: When it cannot be written down; it is gone all the same.
    """
    await engine.remove_image(name if await engine.image_id(name) == image else image)
    file = RecordFile(state, await engine.engine_id())
    async with file.locked():
        file.write(_without(file.read(), image))
    await append(state, ImageRemoved(name=name, image=image, by=who()))


def _without(record: EngineRecord, image: str) -> EngineRecord:
    return record.model_copy(
        update={
            "empty": None if record.empty == image else record.empty,
            "starter": None if record.starter and record.starter.name == image else record.starter,
            "node": None if record.node and record.node.name == image else record.node,
            "made": tuple(made for made in record.made if made.image != image),
        }
    )
