"""Measure the floor of a launch: create, attach, start and the first byte of a static program."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox.errors import EngineUnfitError

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.docker_engine import DockerEngine
    from sandbox.spec import ContainerSpec

SAYS_WITHIN_SECONDS: Final = 60.0
# A static program for x86-64 that writes one byte and ends: mov eax,1; mov edi,eax; lea rsi,[rip+13];
# mov edx,eax; syscall; mov eax,60; syscall; the byte. In front of it stand the headers of an ELF file.
_CODE: Final = bytes.fromhex("b80100000089c7488d350b00000089c20f05b83c0000000f05") + b"x"


def static_program(code: bytes = _CODE) -> bytes:
    """Return a program, that which says one byte, as an ELF file of x86-64 (System V ABI).

    Args:
        code: What it does, from its first byte on; it can write to its stack only.
    """
    address, size = 0x400000, 120 + len(code)
    head = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + _word(2, 2) + _word(62, 2) + _word(1, 4) + _word(address + 120, 8)
    )
    head += _word(64, 8) + _word(0, 8) + _word(0, 4) + _word(64, 2) + _word(56, 2) + _word(1, 2) + bytes(6)
    segment = _word(1, 4) + _word(5, 4) + _word(0, 8) + _word(address, 8) * 2
    return head + segment + _word(size, 8) * 2 + _word(4096, 8) + code


def _word(value: int, length: int) -> bytes:
    return value.to_bytes(length, "little")


def image_tar(folder: Path, *, name: str = "first-byte", code: bytes = _CODE) -> Path:
    """Write a root file system that holds a program of that name and nothing else."""
    path, content = folder / "image.tar", static_program(code)
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    with tarfile.open(path, "w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    return path


async def first_byte(engine: DockerEngine, spec: ContainerSpec) -> float:
    """Return the milliseconds from create to the static program's byte; the container is gone then.

    Raises:
        sandbox.errors.SandboxError: When the program says something else, or nothing in time.
    """
    begin = time.perf_counter()
    container = await engine.create(spec)
    try:
        byte, said_at = await _said(engine, container)
    finally:
        await engine.remove(container)
        await engine.wait_gone(container, timeout_seconds=30)
    if byte != b"x":
        raise EngineUnfitError(f"a static program said `{byte!r}`, expected one byte")
    return (said_at - begin) * 1000


async def _said(engine: DockerEngine, container: str) -> tuple[bytes, float]:
    attachment = await engine.attach(container)
    said: asyncio.Future[tuple[bytes, float]] = asyncio.get_running_loop().create_future()

    def take(data: bytes) -> None:
        if not said.done():
            said.set_result((data, time.perf_counter()))

    pouring = asyncio.ensure_future(attachment.reader.pour(take))
    try:
        await engine.start(container)
        async with asyncio.timeout(SAYS_WITHIN_SECONDS):
            waited: list[asyncio.Future[Any]] = [said, pouring]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        return said.result() if said.done() else (b"", 0.0)
    except TimeoutError as error:
        raise EngineUnfitError(
            f"a static program said nothing in {SAYS_WITHIN_SECONDS:.0f} s, expected one byte"
        ) from error
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        await attachment.close()
