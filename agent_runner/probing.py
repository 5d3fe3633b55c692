"""Prepare the battery of `pairlock doctor --probe` for each grant and runtime, and run it."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from itertools import product
from typing import TYPE_CHECKING, Final

from agent_runner.container import own_identity
from agent_runner.state_label import errands_of, state_label
from policies.capability import Capability
from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineUnfitError, ImageNotFoundError
from sandbox.probing.battery import PROBE_LIMITS, run_battery
from sandbox.runtime.images import ready_empty, ready_starter
from sandbox.runtime.volume import CLEARED_ENVIRONMENT, ready_runtime
from sandbox.spec import (
    LABEL_SESSION,
    WORKSPACE,
    ContainerSpec,
    DriverMount,
    GuestStart,
    SessionLabels,
    container_spec,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from sandbox.engine import EngineFacts
    from sandbox.errands import Errand
    from sandbox.probing.probe import Result
    from sandbox.runtime.engine import Progress
    from sandbox.spec import Identity

KNOWN_RUNTIMES: Final = ("runc", "runsc", "crun", "gvisor")
"""Names that stand for a runtime of its own; engines list further names for the same ones."""

CREATION_SECONDS: Final = 4
"""Time in which a container that was asked for is there, after nobody waits for it any more."""
AT_ONCE: Final = 2
"""Batteries that run beside one another: each holds one container, whose bombs take its two processors."""


async def probe(
    state: Path, *, progress: Progress, grants: tuple[Grant, ...] = tuple(Grant)
) -> AsyncIterator[Result]:
    """Try everything, for each grant under each runtime that the engine has, and yield each result.

    Args:
        state: The state folder, where what is built is written down.
        progress: Told what is being built.
        grants: Which grants.

    Raises:
        sandbox.errors.SandboxError: When the engine, a sandbox or its attestation fails.
    """
    with errands_of(state).begun() as errand:  # `clean` leaves a living one's containers alone
        async with aclosing(_probed(state, errand, grants, progress=progress)) as results:
            async for result in results:
                yield result


async def _probed(
    state: Path, errand: Errand, grants: tuple[Grant, ...], *, progress: Progress
) -> AsyncGenerator[Result, None]:
    engine = await DockerEngine.connect(errands=errands_of(state))
    tasks: list[asyncio.Task[tuple[Result, ...]]] = []
    try:
        facts = await engine.describe()
        if not facts.seccomp:
            raise EngineUnfitError("the engine has no seccomp, and no session can do without")
        runtimes = [name for name in KNOWN_RUNTIMES if name in facts.runtimes]
        specs = [
            await _spec(
                engine, facts, grant, runtime, session=errand.battery(n), state=state, progress=progress
            )
            for n, (runtime, grant) in enumerate(product(runtimes, grants))
        ]
        free = asyncio.Semaphore(AT_ONCE)
        tasks += [
            asyncio.create_task(
                _battery(engine, spec, free, local=facts.local), name=spec.labels[LABEL_SESSION]
            )
            for spec in specs
        ]
        for number, (spec, task) in enumerate(zip(specs, tasks, strict=True)):
            progress(f"probing {spec.grant.label} under {spec.runtime}", done=number, total=len(specs))
            for result in await task:
                yield result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _sweep(engine, state, {task.get_name() for task in tasks if task.cancelled()})
        await engine.close()


async def _sweep(engine: DockerEngine, state: Path, sessions: set[str]) -> None:
    """Remove what was being created when a battery was cancelled, whose id nobody was told in time."""
    for _ in range(CREATION_SECONDS) if sessions else ():
        await asyncio.sleep(1)
        for found in await engine.owned(state=state_label(state)):
            if found.session in sessions:
                await engine.remove(found.container_id)


async def _battery(
    engine: DockerEngine, spec: ContainerSpec, free: asyncio.Semaphore, *, local: bool
) -> tuple[Result, ...]:
    async with free:
        return tuple([result async for result in run_battery(engine, spec, local=local)])


async def _spec(  # noqa: PLR0913 - one call from one place
    engine: DockerEngine,
    facts: EngineFacts,
    grant: Grant,
    runtime: str,
    *,
    session: str,
    state: Path,
    progress: Progress,
) -> ContainerSpec:
    volume = await ready_runtime(engine, state=state, progress=progress)
    image = await ready_empty(engine, state=state, progress=progress)
    if grant.holds(Capability.EXEC):
        image = (await ready_starter(engine, state=state, progress=progress)).image
    found = await engine.image_facts(image)
    if found is None:
        raise ImageNotFoundError(f"image `{image}` has gone while it was needed")
    return container_spec(
        grant,
        limits=PROBE_LIMITS,
        image=found,
        guest=GuestStart(
            volume=volume.name,
            argv=volume.argv_prefix,
            environment=volume.environment,
            cleared=CLEARED_ENVIRONMENT,
        ),
        workspace=_workspace(grant, own_identity().outside(facts.first_ids))
        if grant.holds(Capability.FILES)
        else None,
        identity=own_identity(),
        labels=SessionLabels(session=session, owner=os.getuid(), state=state_label(state)),
        runtime=runtime,
        architecture=facts.architecture,
    )


def _workspace(grant: Grant, identity: Identity) -> DriverMount:
    """Return a small workspace in memory, so that nothing of the user's is part of the battery."""
    owner = f"uid={identity.uid},gid={identity.gid},mode=0700"
    bounds = f"size={PROBE_LIMITS.copy_bytes},nr_inodes={PROBE_LIMITS.copy_files}"
    execution = "exec" if grant.holds(Capability.EXEC) else "noexec"
    options = f"{bounds},{owner},nosuid,nodev,{execution}"
    return DriverMount(target=WORKSPACE, filesystem="tmpfs", options=options, read_only=False)
