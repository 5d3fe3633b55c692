"""A guest that no longer answers, in a real container: found out by its silence, and destroyed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox.errors import GuestUnresponsiveError, SandboxLostError
from tests.sandbox.live import docker, still_there

if TYPE_CHECKING:
    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine


@pytest.mark.long
@pytest.mark.parametrize("runtime", ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
async def test_a_guest_that_stops_answering_is_destroyed_with_its_container(
    ground: Ground, runtime: str
) -> None:
    """Paused from outside, it answers no beat; the action that waits for it is told, and nothing is left."""
    async with ground.opened_sandbox(await ground.spec(Grant.FILES, runtime=runtime)) as sandbox:
        await sandbox.call("files.write", {"path": "a"}, body=b"here")
        await docker("pause", sandbox.container_id)
        async with asyncio.timeout(60):
            with pytest.raises(GuestUnresponsiveError):
                await sandbox.call("files.read", {"path": "a"})
        with pytest.raises(SandboxLostError):
            await sandbox.call("files.read", {"path": "a"})

    assert not await still_there(ground.opened[0])


@pytest.mark.parametrize("runtime", ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
async def test_the_link_of_a_session_is_sealed_exactly_where_its_kernel_lays_it_open(
    ground: Ground, runtime: str
) -> None:
    async with ground.opened_sandbox(await ground.spec(Grant.FILES, runtime=runtime)) as sandbox:
        tried = await sandbox.call("probe.run", {"names": ["open_link"]})
        await sandbox.call("files.write", {"path": "a"}, body=bytes(300_000))
        read = await sandbox.call("files.read", {"path": "a", "limit_bytes": 1 << 20})

    assert sandbox.link.state.is_sealed == (tried.result["open_link"] == "allowed")
    assert runtime == "runsc" or not sandbox.link.state.is_sealed
    assert read.body == bytes(300_000)
