"""Begin every kind of errand on an engine and never come to an end, until somebody kills this.

Run as a program: the state folder, the image, the runtime volume, a volume to fill, and a folder for a pipe
that nobody writes to and for the one that is to be emptied.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.state_label import errands_of
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.interpreter import own_interpreter
from sandbox.runtime.volume import start_line

if TYPE_CHECKING:
    from collections.abc import Iterator

ERRANDS = 5


class Endless(list[str]):
    """Paths of an image that take for ever to look at."""

    def __iter__(self) -> Iterator[str]:
        """Give one path again and again."""
        while True:
            yield "/"


async def hang(state: Path, image: str, runtime: str, volume: str, folder: Path) -> None:
    """Begin them all."""
    engine = await DockerEngine.connect(errands=errands_of(state))
    silent = folder / "silent"
    os.mkfifo(silent)
    (folder / "emptied").mkdir()
    sleeping = (*start_line(own_interpreter())[:-1], "-c", "import time; time.sleep(600)")
    await asyncio.gather(
        engine.fill_volume(volume, image=image, path="/workspace", tar=silent),
        engine.layered_image(silent, base=image, tag="pairlock-test/never:latest", labels={}),
        engine.path_kinds(image, Endless()),
        engine.empty_folder_as_root(folder / "emptied", image=image, guest_volume=runtime, argv=sleeping),
        _made(engine, folder / "empty.tar"),
    )


async def _made(engine: DockerEngine, tar: Path) -> None:
    with tarfile.open(tar, "w"):
        pass
    async with engine.making() as name:
        await engine.import_image(tar, tag=name)
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(hang(Path(sys.argv[1]), *sys.argv[2:5], Path(sys.argv[5])))
