"""Remove the container and volumes that a session's former runner left; nothing of another session's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.state_label import state_label
from sandbox.errors import SandboxError
from sandbox.lifetime import GONE_SECONDS

if TYPE_CHECKING:
    from agent_runner.housing import Order
    from sandbox.docker_engine import DockerEngine


async def clear_former(engine: DockerEngine, order: Order) -> None:
    """Remove what the session's last runner left on the engine, before its stage is mounted again.

    Raises:
        sandbox.errors.SandboxError: When the container does not go away.
    """
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
