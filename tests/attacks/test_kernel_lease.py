"""B99, B120: a runner that is stopped or killed, and a link that is cut, with a real container."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.live import still_there

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]
RUNNER = """
import asyncio, pathlib, sys
from policies.grant import Grant
from tests.sandbox.live import Ground

async def main():
    ground = Ground(state=pathlib.Path(sys.argv[1]), folder=pathlib.Path(sys.argv[2]), opened=[])
    async with ground.opened_sandbox(await ground.spec(Grant.FILES)):
        print(ground.opened[0], flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
async def runner(ground: Ground) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:  # noqa: F811 - the fixture
    """Start a process that holds a sandbox, and give it with the container's id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUNNER, str(ground.state), str(ground.folder)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    container = (await process.stdout.readline()).decode().strip()
    assert container
    yield process, container
    if process.returncode is None:
        process.kill()
    await process.wait()
    await gone(container, seconds=60)


async def gone(container: str, *, seconds: float) -> float:
    """Wait until a container is gone, and return how long that took."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if not await still_there(container):
            return time.monotonic() - start
        await asyncio.sleep(0.2)
    pytest.fail(f"the container was still there after {seconds} s")


@pytest.mark.long
async def test_a_stopped_runner_loses_its_container_to_the_lease(
    runner: tuple[asyncio.subprocess.Process, str],
) -> None:
    """Nothing closes the link of a stopped process; the guest ends when ten seconds bring no beat."""
    process, container = runner

    os.kill(process.pid, signal.SIGSTOP)

    taken = await gone(container, seconds=120)
    assert taken > 5  # it was the lease, and not the end of the link
    os.kill(process.pid, signal.SIGCONT)


@pytest.mark.long
async def test_a_running_runner_keeps_its_container(
    runner: tuple[asyncio.subprocess.Process, str],
) -> None:
    """The twin: for longer than the lease, with nothing to do but to beat."""
    _, container = runner

    await asyncio.sleep(13)

    assert await still_there(container)


@pytest.mark.parametrize("end", [lambda process: process.kill(), lambda process: process.terminate()])
async def test_a_killed_runner_leaves_no_container(
    runner: tuple[asyncio.subprocess.Process, str], end: Callable[[asyncio.subprocess.Process], None]
) -> None:
    """The link ends with the process, the guest with the link, the container with the guest."""
    process, container = runner

    end(process)
    await process.wait()

    await gone(container, seconds=60)


async def test_a_link_that_is_cut_ends_the_container(ground: Ground) -> None:  # noqa: F811 - the fixture
    """As a lost connection to a remote engine does, when it is noticed."""
    spec = await ground.spec(Grant.NONE)

    async with ground.opened_sandbox(spec) as sandbox:
        sandbox.link._writer.close()

        await gone(sandbox.container_id, seconds=60)
