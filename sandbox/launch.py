"""Launch a sandbox: create, attach, greet, start, attest; and destroy it at the end, whatever the end is."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Final, TypeVar

from sandbox import attest, host_view
from sandbox.connection import nobody
from sandbox.errors import SandboxError, SandboxLostError
from sandbox.guest.frames import COMMAND
from sandbox.lifetime import created, destroyed_at_the_end
from sandbox.link import HELLO_SECONDS, Link
from sandbox.session import Sandbox
from sandbox.spec import SCRATCH, ContainerSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from sandbox.engine import Attachment, Engine, Inspection
    from sandbox.limits import Limits

T = TypeVar("T")

LEASE_SECONDS: Final = 10.0
REMOTE_LEASE_SECONDS: Final = 30.0
START_SECONDS: Final = 60.0
"""How long an engine may take to start a container."""


@contextlib.asynccontextmanager
async def open_sandbox(
    engine: Engine,
    spec: ContainerSpec,
    *,
    limits: Limits,
    local: bool,
    made: Callable[[str], Awaitable[None]],
) -> AsyncIterator[Sandbox]:
    """Create, start and attest a container; destroy it at the end, whatever the end is.

    Args:
        engine: Where.
        spec: What; everything it says is compared with what came of it.
        limits: The session's bounds.
        local: Whether the engine is on this machine, which decides the lease's length.
        made: Told the container's id, before it starts: the place to write it down.

    Raises:
        AttestationError: When what was made is not what the spec says.
        SandboxError: When it could not be made.
    """
    start = time.monotonic()
    container_id = await created(engine, spec)
    async with destroyed_at_the_end(engine, container_id):
        await made(container_id)
        attachment = await engine.attach(container_id)
        try:
            async with Link(attachment.reader, attachment.writer) as link:
                # Before the start: the guest finds it there, and answers while the engine still reports.
                greeted = _begun(_hello(link, attachment, limits, local=local))
                inspection: asyncio.Future[Inspection] | None = None
                try:
                    await engine.start(container_id)
                    inspection = _begun(engine.inspect(container_id, spec))
                    facts = await greeted
                    made_of = await inspection
                    evidence = (
                        *made_of.evidence,
                        *host_view.host_evidence(spec, container_id, made_of.process),
                        *attest.guest_evidence(spec, facts, sealed=link.state.is_sealed),
                    )
                    attest.judge(evidence)
                finally:
                    greeted.cancel()
                    if inspection is not None:
                        inspection.cancel()
                if spec.has_commands:
                    link.accept(nobody, operation=COMMAND)
                yield Sandbox(
                    spec=spec,
                    commands=f"{SCRATCH}/.pairlock-commands" if spec.has_commands else "",
                    container_id=container_id,
                    limits=limits,
                    evidence=evidence,
                    link=link,
                    started_seconds=time.monotonic() - start,
                )
        finally:
            await attachment.close()


def _begun(asking: Coroutine[None, None, T]) -> asyncio.Future[T]:
    """Begin something of whose failure nobody need hear: what ended the launch is told, and nothing else."""
    begun = asyncio.ensure_future(asking)
    begun.add_done_callback(lambda done: done.cancelled() or done.exception())
    return begun


async def _hello(link: Link, attachment: Attachment, limits: Limits, *, local: bool) -> attest.Facts:
    lease = LEASE_SECONDS if local else REMOTE_LEASE_SECONDS
    try:
        return await link.hello(
            secrets.token_hex(16),
            lease_seconds=lease,
            wall_seconds=limits.wall_seconds,
            within_seconds=START_SECONDS + HELLO_SECONDS,
        )
    except SandboxLostError as error:
        said = attachment.errors.decode("utf-8", "replace").strip().splitlines()
        why = said[-1][:200] if said else error.message
        raise SandboxError(f"the guest did not come up: {why}") from error
