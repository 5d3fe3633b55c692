"""Bring together what one session's container needs: engine, runtime volume, image, stage, description."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.container_former import clear_former
from agent_runner.fitness import require_fit
from agent_runner.images.choice import ChosenImage, image_for
from agent_runner.review import finished_noted
from agent_runner.slow_engine import told_where_slow
from agent_runner.state_label import errands_of, state_label
from agent_runner.sweep import sweep_created
from agent_runner.walking import walked_beside
from policies.capability import Capability
from sandbox import stage
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineMissingError, MountRefusedError, SandboxError
from sandbox.launch import open_sandbox
from sandbox.limits import Limits
from sandbox.neutral import NeutralNames
from sandbox.runtime.volume import CLEARED_ENVIRONMENT, ready_runtime
from sandbox.spec import (
    WORKSPACE,
    ContainerSpec,
    GuestStart,
    Identity,
    SessionLabels,
    VolumeMount,
    container_spec,
)
from sandbox.workspace_mount import copied_in, read_only_copy, require_same_folder, workspace_mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent_runner.housing import Order
    from policies.policy import Policy
    from sandbox.engine import EngineFacts
    from sandbox.session import Sandbox
    from sandbox.spec import Mount
    from sandbox.stage import StagePlan

SCRATCH_FILES: Final = 65_536
SCRATCH_BYTES_A_FILE: Final = 16 * 1024
"""A scratch folder of more than 1 GiB may hold as many more files: packages are small files."""
NOBODY: Final = 65532
"""Uid and gid inside the container when root runs pairlock (the `nonroot` of distroless images)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a session's container stands on, however its workspace is held."""

    engine: DockerEngine
    facts: EngineFacts
    order: Order
    image: ChosenImage
    guest: GuestStart
    limits: Limits
    identity: Identity
    runtime: str
    """Name of the OCI runtime."""

    @property
    def labels(self) -> SessionLabels:
        """Return the labels of what is made for this session."""
        return SessionLabels(
            session=self.order.session,
            owner=os.getuid(),
            state=state_label(self.order.state),
            part=self.order.part,
        )

    async def placed(self, plan: StagePlan | None) -> Placement:
        """Describe the container, its workspace held as the plan says; a refusal leaves nothing behind."""
        names = await NeutralNames.made() if plan is not None else None
        mount: Mount | None = None
        try:
            mount = await self._mount(plan, names) if plan is not None and names is not None else None
            return Placement(ground=self, spec=self._spec(mount), plan=plan, names=names)
        except BaseException:
            if names is not None:
                names.remove()
            if isinstance(mount, VolumeMount):  # it is filled already, with the user's files
                with suppress(SandboxError):  # the refusal is what is told; `pairlock clean` tries again
                    await self.engine.remove_volume(mount.name)
            raise

    async def _mount(self, plan: StagePlan, names: NeutralNames) -> Mount:
        if isinstance(plan, stage.Copy):
            self.order.progress(f"the workspace travels as a copy: {plan.facts.reason}", done=0, total=0)
        owner = self.identity.outside(self.facts.first_ids)
        return workspace_mount(plan, names, self.limits, owner) or await read_only_copy(
            self.engine,
            self.order.folder,
            self.identity,
            image=self.image.facts.image_id,
            labels=self.labels.as_mapping(),
        )

    def _spec(self, workspace: Mount | None) -> ContainerSpec:
        return container_spec(
            self.order.policy.grant,
            limits=self.limits,
            image=self.image.facts,
            guest=self.guest,
            workspace=workspace,
            identity=self.identity,
            labels=self.labels,
            runtime=self.runtime,
            architecture=self.facts.architecture,
            models=self.order.models,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Everything that is decided before a container is created."""

    ground: Ground
    spec: ContainerSpec
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
        """Remove what the workspace's mount leaves behind."""
        self.forget_names()
        for mount in self.spec.mounts:
            if isinstance(mount, VolumeMount) and mount.target == WORKSPACE:
                with suppress(EngineMissingError):  # `pairlock clean` removes it when the engine is back
                    await self.ground.engine.remove_volume(mount.name)
        with suppress(OSError):  # not there, or not empty: `pairlock clean` has the means for that
            (stage.StageFolder(self.ground.order.folder / "stage").work / "work").rmdir()

    def forget_names(self) -> None:
        """Remove the links through which the workspace's mount was made."""
        if self.names is not None:
            self.names.remove()


def own_identity() -> Identity:
    """Return the invoking user's ids, or those of nobody for root and for a user whose group is root's."""
    uid, gid = os.getuid(), os.getgid()
    return Identity(uid=uid or NOBODY, gid=gid or NOBODY)


def limits_of(policy: Policy) -> Limits:
    """Return the sandbox's bounds as the policy sets them."""
    isolation = policy.isolation
    return Limits(
        memory_bytes=int(isolation.memory),
        cpus=isolation.cpus,
        processes=int(isolation.processes),
        scratch_bytes=int(isolation.scratch),
        scratch_files=max(SCRATCH_FILES, int(isolation.scratch) // SCRATCH_BYTES_A_FILE),
        wall_seconds=float(policy.budget.wall_time) + 60.0,
        file_bytes=max(int(policy.files.limits.written_bytes), 1) if policy.files else int(isolation.scratch),
        written_files=max(int(policy.files.limits.written_files), 1) if policy.files else SCRATCH_FILES,
    )


@asynccontextmanager
async def sandbox_for(
    order: Order, *, made: Callable[[Placement, str], Awaitable[None]]
) -> AsyncIterator[tuple[Placement, Sandbox]]:
    """Open a session's sandbox: build what is missing, stage the workspace, make the container.

    Where the engine cannot mount the workspace, which shows only when it tries, the workspace is copied.

    Args:
        order: What for.
        made: Told of each container before it starts.

    Raises:
        sandbox.errors.SandboxError: When no engine answers, or it cannot hold a session.
    """
    async with AsyncExitStack() as stack:
        with told_where_slow(order.progress):
            engine = await DockerEngine.connect(errands=errands_of(order.state))
        stack.push_async_callback(engine.close)
        ground, scanned = await walked_beside(order, _ground(engine, order))
        placement = await ground.placed(_plan(order, ground, scanned))
        try:
            sandbox = await stack.enter_async_context(_opened(placement, made))
        except MountRefusedError as error:
            if placement.plan is None or isinstance(placement.plan, stage.Copy):
                raise
            placement = await ground.placed(stage.fall_back_to_copy(placement.plan, error.message))
            sandbox = await stack.enter_async_context(_opened(placement, made))
        yield placement, sandbox


async def _ground(engine: DockerEngine, order: Order) -> Ground:
    policy, state = order.policy, order.state
    with told_where_slow(order.progress):
        facts = await engine.describe()
    runtime = require_fit(policy, facts)
    if order.resumed:
        await clear_former(engine, order)
    await sweep_created(engine, state, label=state_label(state))
    volume = await ready_runtime(engine, state=state, progress=order.progress)
    return Ground(
        engine=engine,
        facts=facts,
        order=order,
        image=await image_for(engine, facts, policy, state=state, progress=order.progress),
        guest=GuestStart(
            volume=volume.name,
            argv=volume.argv_prefix,
            environment=volume.environment,
            cleared=CLEARED_ENVIRONMENT,
        ),
        limits=limits_of(policy),
        identity=own_identity(),
        runtime=runtime,
    )


def _plan(order: Order, ground: Ground, scanned: stage.Scan | None) -> StagePlan | None:
    """Return how the workspace is held: the stage that the session left, where there is one to go on with."""
    workspace, files = order.workspace, order.policy.files
    if workspace is None or files is None:
        return None
    hide, executable = stage.HiddenBy(files), order.policy.grant.holds(Capability.EXEC)
    obstacle = ground.facts.mount_obstacle
    if order.resumed:
        if files.access == "stage" and stage.StageFolder(order.folder / "stage").about.exists():
            noted = finished_noted(order.folder, order.state)
            plan = stage.resume_stage(workspace, order.folder, hide=hide, executable=executable, noted=noted)
            mountable = not obstacle or isinstance(plan, stage.Copy)
            return plan if mountable else stage.fall_back_to_copy(plan, obstacle)
        stage.discard(order.folder)  # `read` and `direct` keep nothing there, and a half-made stage is none
    plan = stage.plan_stage(
        workspace,
        order.folder,
        access=stage.Access(files.access),
        hide=hide,
        uid=ground.identity.uid,
        gid=ground.identity.gid,
        engine_obstacle=obstacle,
        executable=executable,
        scanned=scanned,
    )
    if hidden := stage.hidden_line(plan.facts.absent):
        order.progress(hidden, done=0, total=0)
    return plan


@asynccontextmanager
async def _opened(
    placement: Placement, made: Callable[[Placement, str], Awaitable[None]]
) -> AsyncIterator[Sandbox]:
    """Open the sandbox of a placement, its content brought in where no mount brings it."""
    ground, plan = placement.ground, placement.plan
    engine, folder = ground.engine, ground.order.folder

    async def created(container_id: str) -> None:
        await made(placement, container_id)
        if isinstance(plan, stage.Direct):
            await require_same_folder(engine, container_id, plan.facts.workspace)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(placement.finish)
        sandbox = await stack.enter_async_context(
            open_sandbox(
                engine,
                placement.spec,
                limits=ground.limits,
                local=ground.facts.local,
                made=created,
            )
        )
        placement.forget_names()
        if isinstance(plan, stage.Copy) and plan.writable:
            await stack.enter_async_context(
                copied_in(
                    engine,
                    sandbox.container_id,
                    folder,
                    placement.spec,
                    ground.limits,
                    tell=lambda what: ground.order.progress(what, done=0, total=0),
                )
            )
        yield sandbox
