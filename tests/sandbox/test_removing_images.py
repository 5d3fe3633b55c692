"""An image that is removed takes nothing else along."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from sandbox.docker_engine import DockerEngine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine


def empty_tar(path: Path) -> Path:
    """Write a tar file with nothing in it."""
    with tarfile.open(path, "w"):
        pass
    return path


async def test_what_an_image_stands_on_stays_though_no_name_is_left_on_it(tmp_path: Path) -> None:
    """Two state folders build a starter each under one name; an image on the older one is removed."""
    tag = f"pairlock-test/{os.urandom(8).hex()}:latest"
    tar = empty_tar(tmp_path / "empty.tar")
    made: list[str] = []
    engine = await DockerEngine.connect()
    try:
        made.append(older := await engine.import_image(tar, tag=tag))
        made.append(above := await engine.layered_image(tar, base=older, tag=f"{tag}-above", labels={}))
        made.append(newer := await engine.import_image(tar, tag=tag))

        await engine.remove_image(above)

        assert newer != older
        assert await engine.image_id(above) is None
        assert await engine.image_id(older) == older
    finally:
        try:
            for image in reversed(made):
                await engine.remove_image(image)
        finally:
            await engine.close()
