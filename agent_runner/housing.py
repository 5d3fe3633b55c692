"""Give a session its sandbox and take it away again, with the ledger's lines about both.

The session knows only the protocol; the container is one of the ways to meet it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from agent_runner.container import sandbox_for
from agent_runner.stage_room import room_of
from agent_runner.watch import StageWatch, bound_of, require_within_limits, watch_of
from audit import event
from audit.fields import Evidence
from sandbox.errors import AttestationError
from sandbox.stage import Direct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent_runner.container import Placement
    from audit.journal import Journal
    from policies.policy import Policy
    from sandbox.engine import Evidence as Seen
    from sandbox.runtime.engine import Progress
    from sandbox.session import Sandbox
    from sandbox.stage import StagePlan
    from sandbox.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a sandbox is ordered for."""

    session: str
    policy: Policy
    workspace: Workspace | None
    state: Path
    folder: Path
    """The session's folder in the state folder."""
    resumed: bool
    """Whether the session goes on with the stage that it left."""
    journal: Journal
    progress: Progress
    models: bool = False
    """Whether the sandbox's programs find a model's API on their loopback."""
    part: str = ""
    """Which connector of the session the sandbox is for; empty for the session's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Housed:
    """A sandbox that stands, and what its session has to know of it."""

    sandbox: Sandbox
    plan: StagePlan | None
    """How the workspace is held; None in a session without `files`."""
    watch: StageWatch
    """What is looked at from the host while the session runs."""
    stop: Callable[[], Awaitable[None]]
    """Kills the sandbox at once."""
    interpreter: tuple[str, ...] = ()
    """The start line of an interpreter inside that is ours and not the image's."""


class Housing(Protocol):
    """Give sessions their sandboxes."""

    def house(self, order: Order) -> AbstractAsyncContextManager[Housed]:
        """Give an attested sandbox, and destroy it at the end, whatever the end is."""
        ...


class ContainerHousing:
    """Give a container of the Docker engine."""

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Make, attest and at the end destroy a container.

        Raises:
            sandbox.errors.SandboxError: When it cannot be made, or is not what was asked for.
        """
        journal = order.journal

        async def created(placement: Placement, container_id: str) -> None:
            await journal.record(_created(placement, container_id))

        try:
            async with sandbox_for(order, made=created) as (placement, sandbox):
                await journal.record(_attested("as granted", sandbox.evidence))
                watch = watch_of(placement.plan, order.policy.files)
                sandbox.room = room_of(placement.plan, watch.limits)
                # A stage is judged as a whole when it is applied; what is written at once, by its name alone.
                sandbox.straight = isinstance(placement.plan, Direct)
                yield Housed(
                    sandbox=sandbox,
                    plan=placement.plan,
                    watch=watch,
                    stop=lambda: placement.ground.engine.kill(sandbox.container_id),
                    interpreter=placement.ground.guest.argv[:-1],
                )
            require_within_limits(placement.plan, order.policy.files)
        except AttestationError as error:
            await journal.record(_attested("differs", error.evidence))
            raise


def _created(placement: Placement, container_id: str) -> event.SandboxCreated:
    strategy, reason = placement.strategy
    reason = "; ".join(filter(None, (reason, bound_of(placement.plan))))
    return event.SandboxCreated(
        runtime=placement.spec.runtime,
        engine_version=placement.ground.facts.version,
        image_digest=placement.spec.image,
        container=container_id,
        spec_digest=placement.spec.digest,
        stage_strategy=strategy,
        stage_reason=reason,
        image_name=placement.ground.image.name,
        image_repository_digest=placement.ground.image.repository_digest,
    )


def _attested(verdict: Literal["as granted", "differs"], evidence: tuple[Seen, ...]) -> event.SandboxAttested:
    pieces = tuple(
        Evidence(check=piece.check, expected=piece.expected, observed=piece.observed, source=piece.source)
        for piece in evidence
    )
    return event.SandboxAttested(verdict=verdict, evidence=pieces)
