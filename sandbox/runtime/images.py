"""Make the images that sessions run on an engine: the empty one, and the starter."""

from __future__ import annotations

import asyncio
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.runtime.errors import RuntimeBuildError
from sandbox.runtime.interpreter import own_interpreter
from sandbox.runtime.record import Built, RecordFile, fingerprint
from sandbox.runtime.starter import starter_salt, starter_tree

if TYPE_CHECKING:
    from sandbox.runtime.engine import Progress, RuntimeEngine

EMPTY_TAG = "pairlock/empty:latest"
"""For people who look at the engine's list; the image is used by its id only."""

STARTER_TAG = "pairlock/starter:latest"
"""Likewise, except where the host is not Linux: there a person builds an image of this name."""

STARTER_DOCKERFILE = Path(__file__).resolve().parent / "starter.Dockerfile"
"""For hosts that are not Linux and have a registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StarterImage:
    """The starter image on an engine."""

    image: str
    """Its id, `sha256:…`."""
    digest: str
    """Hash of what it was made of, SHA-256 in hexadecimal; its id, where a person built it."""


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
    known = file.read().empty
    if known is not None and await engine.image_id(known) == known:
        return known
    async with file.locked():
        known = file.read().empty
        if known is not None and await engine.image_id(known) == known:
            return known
        progress("making the empty image", done=0, total=1)
        with tempfile.TemporaryDirectory(prefix="pairlock-") as folder:
            tar = Path(folder) / "empty.tar"
            await asyncio.to_thread(_write_empty, tar)
            async with engine.making() as name:
                image = await engine.import_image(tar, tag=name)
                file.write(file.read().model_copy(update={"empty": image}))
                await engine.tag_image(image, EMPTY_TAG)
        return image


async def ready_starter(engine: RuntimeEngine, *, state: Path, progress: Progress) -> StarterImage:
    """Return the starter image of an engine, built now if it is not there or is out of date.

    Args:
        engine: Where it is to be.
        state: The state folder.
        progress: Told how far the building is; silent when nothing is to be built.

    Raises:
        RuntimeBuildError: When it cannot be built from what this machine has.
        SandboxError: When the engine does not do as it is asked.
    """
    if sys.platform != "linux":
        return await _built_by_a_person(engine)
    file = RecordFile(state, await engine.engine_id())
    built = await _current(engine, file)
    if built is None:
        async with file.locked():
            built = await _current(engine, file) or await _build(engine, file, progress=progress)
    return StarterImage(image=built.name, digest=built.digest)


async def _built_by_a_person(engine: RuntimeEngine) -> StarterImage:
    image = await engine.image_id(STARTER_TAG)
    if image is None:
        raise RuntimeBuildError(
            f"the image `{STARTER_TAG}` is not there, and is made by itself on a Linux machine only",
            hint=f"docker build -t {STARTER_TAG} - < {STARTER_DOCKERFILE}",
        )
    return StarterImage(image=image, digest=image.removeprefix("sha256:"))


def starter_is_current(built: Built) -> bool:
    """Say whether a starter image is made of this machine's files as they are now."""
    return fingerprint(built.sources, salt=starter_salt()) == built.fingerprint


async def _current(engine: RuntimeEngine, file: RecordFile) -> Built | None:
    """Return the image of the record, if it is there and made of the files as they are now."""
    built = file.read().starter
    if built is None or not starter_is_current(built):
        return None
    return built if await engine.image_id(built.name) == built.name else None


async def _build(engine: RuntimeEngine, file: RecordFile, *, progress: Progress) -> Built:
    progress("reading this machine's programs", done=0, total=0)
    tree, sources = await asyncio.to_thread(starter_tree, own_interpreter())
    before = fingerprint(sources, salt=starter_salt())
    digest = await asyncio.to_thread(tree.digest, salt=starter_salt())
    with tempfile.TemporaryDirectory(prefix="pairlock-") as folder:
        tar = Path(folder) / "starter.tar"
        await asyncio.to_thread(tree.write, tar, progress=progress, message="packing the starter image")
        progress("importing the starter image", done=0, total=0)
        async with engine.making() as name:
            image = await engine.import_image(tar, tag=name)
            built = Built(name=image, digest=digest, fingerprint=before, sources=sources)
            file.write(file.read().replaced(starter=built))
            await engine.tag_image(image, STARTER_TAG)
    progress("starter image ready", done=1, total=1)
    return built


def _write_empty(target: Path) -> None:
    with tarfile.open(target, "w"):
        pass
