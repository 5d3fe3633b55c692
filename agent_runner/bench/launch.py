"""Measure the launch of a sandbox beside a static program in the same image, through the same engine."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from agent_runner.bench.first_byte import first_byte, image_tar
from agent_runner.bench.row import Row
from agent_runner.container import own_identity
from agent_runner.state_label import errands_of, state_label
from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineUnfitError
from sandbox.launch import open_sandbox
from sandbox.limits import Limits
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.volume import CLEARED_ENVIRONMENT, ready_runtime
from sandbox.spec import ContainerSpec, GuestStart, SessionLabels, container_spec

if TYPE_CHECKING:
    from sandbox.engine import EngineFacts
    from sandbox.runtime.engine import Progress
    from sandbox.runtime.volume import RuntimeVolume
    from sandbox.spec import ImageFacts

ROUNDS: Final = 9


async def first_action(engine: DockerEngine, spec: ContainerSpec) -> float:
    """Return the milliseconds from create to the first answer of an attested sandbox."""
    begin = time.perf_counter()
    async with open_sandbox(engine, spec, limits=Limits(), local=True, made=no_note) as sandbox:
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
            await first_byte(
                engine,
                replace(bare_spec(about, facts, volume, state_label(state)), entrypoint=("/first-byte",)),
            )
        )
        ours.append(await first_action(engine, bare_spec(about, facts, volume, state_label(state))))
    return floors, ours


def bare_spec(about: EngineFacts, image: ImageFacts, volume: RuntimeVolume, label: str) -> ContainerSpec:
    """Return the spec of one more container without a capability.

    Args:
        about: The engine.
        image: What stands in the image.
        volume: Where the guest is.
        label: What its objects carry as their state folder.
    """
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
        labels=SessionLabels(session=secrets.token_hex(6), owner=os.getuid(), state=label),
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


async def no_note(container_id: str) -> None:
    """Write nothing down."""
