"""Measure the launch of a sandbox beside a static program in the same image, through the same engine."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from agent_runner.bench.row import Row
from agent_runner.container import own_identity
from agent_runner.state_label import errands_of, state_label
from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineUnfitError
from sandbox.limits import Limits
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.volume import CLEARED_ENVIRONMENT, ready_runtime
from sandbox.session import open_sandbox
from sandbox.spec import ContainerSpec, GuestStart, SessionLabels, container_spec

if TYPE_CHECKING:
    from sandbox.engine import EngineFacts
    from sandbox.runtime.engine import Progress
    from sandbox.runtime.volume import RuntimeVolume
    from sandbox.spec import ImageFacts

ROUNDS: Final = 9
SAYS_WITHIN_SECONDS: Final = 60.0
# A static program for x86-64 that writes one byte and ends: mov eax,1; mov edi,eax; lea rsi,[rip+13];
# mov edx,eax; syscall; mov eax,60; syscall; the byte. In front of it stand the headers of an ELF file.
_CODE: Final = bytes.fromhex("b80100000089c7488d350b00000089c20f05b83c0000000f05") + b"x"


def static_program() -> bytes:
    """Return a program that says one byte, as an ELF file of x86-64 (System V ABI)."""
    address, size = 0x400000, 120 + len(_CODE)
    head = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + _word(2, 2) + _word(62, 2) + _word(1, 4) + _word(address + 120, 8)
    )
    head += _word(64, 8) + _word(0, 8) + _word(0, 4) + _word(64, 2) + _word(56, 2) + _word(1, 2) + bytes(6)
    segment = _word(1, 4) + _word(5, 4) + _word(0, 8) + _word(address, 8) * 2
    return head + segment + _word(size, 8) * 2 + _word(4096, 8) + _CODE


def _word(value: int, length: int) -> bytes:
    return value.to_bytes(length, "little")


def image_tar(folder: Path) -> Path:
    """Write a root file system that holds the program and nothing else."""
    path, content = folder / "image.tar", static_program()
    entry = tarfile.TarInfo("first-byte")
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
        byte = await _said(engine, container)
        taken = time.perf_counter() - begin
    finally:
        await engine.remove(container)
        await engine.wait_gone(container, timeout_seconds=30)
    if byte != b"x":
        raise EngineUnfitError(f"a static program said `{byte!r}`, expected one byte")
    return taken * 1000


async def _said(engine: DockerEngine, container: str) -> bytes:
    attachment = await engine.attach(container)
    try:
        await engine.start(container)
        async with asyncio.timeout(SAYS_WITHIN_SECONDS):
            return await attachment.reader.read(1)
    except TimeoutError as error:
        raise EngineUnfitError(
            f"a static program said nothing in {SAYS_WITHIN_SECONDS:.0f} s, expected one byte"
        ) from error
    finally:
        await attachment.close()


async def first_action(engine: DockerEngine, spec: ContainerSpec) -> float:
    """Return the milliseconds from create to the first answer of an attested sandbox."""
    begin = time.perf_counter()
    async with open_sandbox(engine, spec, limits=Limits(), local=True, made=_no_note) as sandbox:
        await sandbox.call("files.stat", {"path": "."})
        return (time.perf_counter() - begin) * 1000


async def launch_rows(state: Path, progress: Progress) -> list[Row]:
    """Return what a launch takes; its image and containers are gone afterwards, the runtime stays.

    Raises:
        sandbox.errors.SandboxError: When no engine answers, or it cannot hold a session.
    """
    engine = await DockerEngine.connect(errands=errands_of(state))
    name = f"pairlock-bench:{secrets.token_hex(4)}"
    try:
        about = await engine.describe()
        if about.architecture != "x86_64":
            return []  # the floor's program is one of x86-64
        with tempfile.TemporaryDirectory(prefix="pairlock-bench-") as folder:
            image = await engine.import_image(image_tar(Path(folder)), tag=name)
        try:
            floors, ours = await _measured(engine, about, image, state, progress)
        finally:
            await engine.remove_image(name)
    finally:
        await engine.close()
    return [
        Row(
            name="launch, to the first answer",
            unit="ms",
            ours=median(ours),
            floor=median(floors),
            most_ratio=1.5,
        )
    ]


async def _measured(
    engine: DockerEngine, about: EngineFacts, image: str, state: Path, progress: Progress
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of the static program, and ours, in turn."""
    volume = await ready_runtime(engine, state=state, progress=progress)
    facts = await engine.image_facts(image)
    if facts is None:
        raise EngineUnfitError("the image that was just made has gone")
    floors, ours = [], []
    for _ in range(ROUNDS):
        floors.append(
            await first_byte(engine, replace(_spec(about, facts, volume, state), entrypoint=("/first-byte",)))
        )
        ours.append(await first_action(engine, _spec(about, facts, volume, state)))
    return floors, ours


def _spec(about: EngineFacts, image: ImageFacts, volume: RuntimeVolume, state: Path) -> ContainerSpec:
    return container_spec(
        Grant.NONE,
        limits=Limits(),
        image=image,
        guest=GuestStart(
            volume=volume.name,
            argv=volume.argv_prefix,
            environment=volume.environment,
            cleared=CLEARED_ENVIRONMENT,
        ),
        workspace=None,
        identity=own_identity(),
        labels=SessionLabels(session=secrets.token_hex(6), owner=os.getuid(), state=state_label(state)),
        runtime=about.default_runtime,
        architecture=about.architecture,
    )


async def forget(state: Path) -> None:
    """Remove what an engine holds for a state folder that is about to go."""
    engine = await DockerEngine.connect(errands=errands_of(state))
    try:
        await remove_built(engine, state=state, current=True)
    finally:
        await engine.close()


async def _no_note(container_id: str) -> None:
    """Write nothing down."""
