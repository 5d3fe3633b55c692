"""Open the floor of the wire: a static program that echoes, behind the engine's own attach."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from agent_runner.bench.first_byte import image_tar
from agent_runner.bench.launch import bare_spec
from agent_runner.state_label import errands_of, state_label
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.volume import ready_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

MESSAGE = bytes(64)
# A static program for x86-64: sub rsp,4096; again: read(0, rsp, 4096); if it is 0 or less, exit(0);
# write(1, rsp, as many); jmp again. The registers of a call are those of the System V ABI.
_ECHO = bytes.fromhex(
    "4881ec0010000031c031ff4889e6ba001000000f0585c07e0d89c2b80100000089c70f05ebe1b83c00000031ff0f05"
)


@asynccontextmanager
async def wire(folder: Path, state: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Give what sends a small message to the program and returns when it is back.

    Args:
        folder: A scratch folder.
        state: The state folder.
    """
    engine = await DockerEngine.connect(errands=errands_of(state))
    name = f"pairlock-benchmark:{secrets.token_hex(4)}"
    try:
        image = await engine.import_image(image_tar(folder, name="echo", code=_ECHO), tag=name)
        try:
            async with _running(engine, image, state) as sent:
                yield sent
        finally:
            await engine.remove_image(name)
    finally:
        await engine.close()


@asynccontextmanager
async def _running(
    engine: DockerEngine, image: str, state: Path
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    about, facts = await engine.describe(), await engine.image_facts(image)
    if facts is None:
        raise RuntimeError("the image that was just made has gone")
    volume = await ready_runtime(engine, state=state, progress=_quiet)
    spec = replace(bare_spec(about, facts, volume, state_label(state)), entrypoint=("/echo",))
    container = await engine.create(spec)
    try:
        attachment = await engine.attach(container)
        came = _Came()
        pouring = asyncio.ensure_future(attachment.reader.pour(came.take))
        try:
            await engine.start(container)

            async def sent() -> None:
                attachment.writer.write(MESSAGE)
                await came.next(len(MESSAGE))

            yield sent
        finally:
            pouring.cancel()
            await asyncio.gather(pouring, return_exceptions=True)
            await attachment.close()
    finally:
        await engine.remove(container)
        await engine.wait_gone(container, timeout_seconds=30)


class _Came:
    """Count what came back."""

    def __init__(self) -> None:
        self._missing = 0
        self._whole: asyncio.Future[None] | None = None

    async def next(self, number: int) -> None:
        """Return when that many more bytes have come."""
        self._missing += number
        self._whole = asyncio.get_running_loop().create_future()
        await self._whole

    def take(self, data: bytes) -> None:
        """Take what came."""
        self._missing -= len(data)
        if self._missing == 0 and self._whole is not None and not self._whole.done():
            self._whole.set_result(None)


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
