"""Bring together what one session's container needs: engine, runtime volume, image, stage, description."""

from __future__ import annotations

import hashlib
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.images.choice import ChosenImage, image_for
from agent_runner.sweep import sweep_created
from policies.capability import Capability
from sandbox import stage
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineUnfitError, SandboxError
from sandbox.limits import Limits
from sandbox.neutral import NeutralNames
from sandbox.runtime.volume import CLEARED_ENVIRONMENT, ready_runtime
from sandbox.session import GONE_SECONDS, Sandbox, open_sandbox
from sandbox.spec import (
    WORKSPACE,
    ContainerSpec,
    GuestStart,
    Identity,
    SessionLabels,
    VolumeMount,
    container_spec,
)
from sandbox.workspace_mount import copied_in, read_only_copy, workspace_mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from agent_runner.housing import Order
    from policies.policy import Policy
    from sandbox.engine import EngineFacts
    from sandbox.stage import StagePlan

NOBODY: Final = 65532
"""Uid and gid inside the container when root runs pairlock (the `nonroot` of distroless images)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Everything that is decided before a container is created."""

    engine: DockerEngine
    facts: EngineFacts
    spec: ContainerSpec
    image: ChosenImage
    limits: Limits
    folder: Path
    """The session's folder in the state folder."""
    plan: StagePlan | None
    """None in a session without `files`."""
    names: NeutralNames | None
    """What the workspace's mount calls this machine's folders, until it is made."""

    @property
    def strategy(self) -> tuple[str, str]:
        """Return how the workspace is held and why, for the ledger."""
        if self.plan is None:
            return "none", "the grant has no `files`"
        return type(self.plan).__name__.lower(), self.plan.facts.reason

    async def finish(self) -> None:
        """Remove what the workspace's mount leaves behind, and let the engine go."""
        self.forget_names()
        for mount in self.spec.mounts:
            if isinstance(mount, VolumeMount) and mount.target == WORKSPACE:
                await self.engine.remove_volume(mount.name)
        with suppress(OSError):  # not there, or not empty: `pairlock clean` has the means for that
            (stage.StageFolder(self.folder / "stage").work / "work").rmdir()
        await self.engine.close()

    def forget_names(self) -> None:
        """Remove the links through which the workspace's mount was made."""
        if self.names is not None:
            self.names.remove()


def own_identity() -> Identity:
    """Return the invoking user's ids, or those of nobody for root and for a user whose group is root's."""
    uid, gid = os.getuid(), os.getgid()
    return Identity(uid=uid or NOBODY, gid=gid or NOBODY)


def state_label(state: Path) -> str:
    """Return the short hash by which a state folder's containers are known."""
    return hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]


def limits_of(policy: Policy) -> Limits:
    """Return the sandbox's bounds as the policy sets them."""
    isolation = policy.isolation
    return Limits(
        memory_bytes=int(isolation.memory),
        cpus=isolation.cpus,
        processes=int(isolation.processes),
        scratch_bytes=int(isolation.scratch),
        wall_seconds=float(policy.budget.wall_time) + 60.0,
        file_bytes=int(policy.files.limits.written_bytes) if policy.files else int(isolation.scratch),
    )


async def place(order: Order) -> Placement:
    """Prepare a session's container: build what is missing, stage the workspace, describe the container.

    Raises:
        sandbox.errors.SandboxError: When no engine answers, or it cannot hold a session.
    """
    engine = await DockerEngine.connect()
    try:
        return await _placed(engine, order)
    except BaseException:
        await engine.close()
        raise


async def _placed(engine: DockerEngine, order: Order) -> Placement:
    policy, state = order.policy, order.state
    facts = await engine.describe()
    runtime = _runtime(policy, facts)
    if order.resumed:
        await _clear(engine, order)
    await sweep_created(engine, state, label=state_label(state))
    volume = await ready_runtime(engine, state=state, progress=order.progress)
    image = await image_for(engine, facts, policy, state=state, progress=order.progress)
    identity = own_identity()
    limits = limits_of(policy)
    labels = SessionLabels(session=order.session, owner=os.getuid(), state=state_label(state))
    plan, names, mount = _plan(order, identity, facts), None, None
    if plan is not None:
        names = NeutralNames.make()
        try:
            mount = workspace_mount(plan, names, limits, identity) or await read_only_copy(
                engine, order.folder, identity, image=image.facts.image_id, labels=labels.as_mapping()
            )
        except BaseException:
            names.remove()
            raise
    spec = container_spec(
        policy.grant,
        limits=limits,
        image=image.facts,
        guest=GuestStart(
            volume=volume.name,
            argv=volume.argv_prefix,
            environment=volume.environment,
            cleared=CLEARED_ENVIRONMENT,
        ),
        workspace=mount,
        identity=identity,
        labels=labels,
        runtime=runtime,
        architecture=facts.architecture,
    )
    return Placement(
        engine=engine,
        facts=facts,
        spec=spec,
        image=image,
        limits=limits,
        folder=order.folder,
        plan=plan,
        names=names,
    )


async def _clear(engine: DockerEngine, order: Order) -> None:
    """Remove what the session's last runner left on the engine, before its stage is mounted again."""
    label = state_label(order.state)
    for found in await engine.owned(state=label):
        if found.session == order.session:
            await engine.remove(found.container_id)
            if not await engine.wait_gone(found.container_id, timeout_seconds=GONE_SECONDS):
                raise SandboxError(
                    f"the session's old container `{found.container_id[:12]}` does not go away",
                    hint="`pairlock clean` tries again",
                )
    for name, session in await engine.owned_volumes(state=label):
        if session == order.session:
            await engine.remove_volume(name)


def _plan(order: Order, identity: Identity, facts: EngineFacts) -> StagePlan | None:
    """Return how the workspace is held: the stage that the session left, where there is one to go on with."""
    workspace, files = order.workspace, order.policy.files
    if workspace is None or files is None:
        return None
    hide, executable = stage.HiddenBy(files), order.policy.grant.holds(Capability.EXEC)
    if order.resumed:
        if files.access == "stage" and stage.StageFolder(order.folder / "stage").about.exists():
            return stage.resume_stage(workspace, order.folder, hide=hide, executable=executable)
        stage.discard(order.folder)  # `read` and `direct` keep nothing there, and a half-made stage is none
    return stage.plan_stage(
        workspace,
        order.folder,
        access=stage.Access(files.access),
        hide=hide,
        uid=identity.uid,
        gid=identity.gid,
        engine_local=facts.local,
        executable=executable,
    )


@asynccontextmanager
async def sandbox_for(
    placement: Placement, *, made: Callable[[str], Awaitable[None]]
) -> AsyncIterator[Sandbox]:
    """Open the sandbox of a placement, its content brought in where no mount brings it."""
    async with open_sandbox(
        placement.engine, placement.spec, limits=placement.limits, local=placement.facts.local, made=made
    ) as sandbox:
        placement.forget_names()
        if isinstance(placement.plan, stage.Copy) and placement.plan.writable:
            async with copied_in(
                placement.engine, sandbox.container_id, placement.folder, placement.spec, placement.limits
            ):
                yield sandbox
        else:
            yield sandbox


def _runtime(policy: Policy, facts: EngineFacts) -> str:
    """Return the runtime's name, if the engine has it, and refuse an engine without seccomp."""
    if not facts.seccomp:
        raise EngineUnfitError(
            "the engine has no seccomp, and no session can do without", hint="docs/isolation.md says why"
        )
    if facts.architecture not in ("x86_64", "aarch64"):
        raise EngineUnfitError(f"the engine's machine is `{facts.architecture}`, expected x86_64 or aarch64")
    wanted = policy.isolation.runtime
    runtime = facts.default_runtime if wanted == "default" else wanted
    if runtime not in facts.runtimes:
        raise EngineUnfitError(
            f"the engine has no runtime `{runtime}`, it has {', '.join(facts.runtimes)}",
            hint="`pairlock doctor` says how to install it",
        )
    return runtime
