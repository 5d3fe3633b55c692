"""B85, B91 to B95: the checks of the usual breakout enumerators, run by a program in a session with `exec`.

What they look for (deepce, amicontained, CDK's evaluate, linpeas' container section) is written anew here as
one shell script: each line that it prints is something to use. In a session it prints none; in a container
that was made carelessly, of the same image, it finds its way out.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from tests.attacks.toolbox import make_toolbox
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.live import docker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]

OF_GVISOR = {"USABLE readable /proc/cmdline", "USABLE device /dev/fuse", "USABLE device /dev/net/tun"}
"""A line that gVisor makes up, and devices of its own kernel, which make nothing without a capability."""
OTHERS = 45
"""More processes than the 40 from which on the enumerator takes some of them for others'."""
FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""linux/proc_ns.h, PROC_PID_INIT_INO."""
ENUMERATOR = (Path(__file__).parent / "enumerator.sh").read_text("utf-8")


@pytest.fixture(scope="module")
def toolbox(built: Path) -> Iterator[str]:
    """Give an image with tools that enumerators like to find."""
    name = asyncio.run(make_toolbox(built))
    yield name
    asyncio.run(docker("rmi", "--force", "--no-prune", name))


@pytest.mark.parametrize(
    "grant", [Grant.EXEC, Grant.FILES_EXEC, Grant.NETWORK_EXEC], ids=lambda grant: grant.label
)
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_an_enumerator_finds_nothing_to_use(
    ground: Ground,  # noqa: F811 - the fixture
    toolbox: str,
    runtime: str,
    grant: Grant,
) -> None:
    """B85, B88, B91, B92, B93, B94, B95: each line would be a way out, or a step towards one."""
    spec = await ground.spec(grant, image=toolbox, runtime=runtime)
    async with ground.opened_sandbox(spec) as sandbox:
        result = await sandbox.spawn(("sh", "-c", ENUMERATOR))

    found = result.output.decode().splitlines()
    assert found[-1] == "searched", result.errors.decode()
    assert [line for line in found[:-1] if runtime == "runc" or line not in OF_GVISOR] == []


@pytest.fixture
def others() -> Iterator[None]:
    """Let more processes run than a session may have, whatever else this machine does."""
    started = [subprocess.Popen(["/usr/bin/sleep", "600"]) for _ in range(OTHERS)]
    yield
    for process in started:
        process.kill()
        process.wait()


def of_this_machine() -> list[str]:
    """Return the ways out that a careless container has on some machines only, as this process sees them."""
    interfaces = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    found = ["interface "] if interfaces - {"lo"} else []
    if str(Path("/proc/self/ns/pid").readlink()) == FIRST_PID_NAMESPACE:
        found.append("first namespace of pid")
    return found


@pytest.mark.usefixtures("others")
async def test_the_enumerator_finds_the_ways_out_of_a_careless_container(toolbox: str) -> None:
    """The twin: the same image as root, unconfined, with the engine's socket and the host's processes."""
    said = await docker(
        "run", "--rm", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--pid=host",
        "--security-opt=systempaths=unconfined", "--network=host", "--env=API_TOKEN=canary",
        "--device=/dev/null:/dev/mem", "--volume=/var/run/docker.sock:/var/run/docker.sock",
        toolbox, "sh", "-c", ENUMERATOR,
    )  # fmt: skip

    for way in (
        "uid 0", "capabilities CapEff", "no seccomp", "path /var/run/docker.sock", "secret API_TOKEN",
        "device /dev/", "writable /proc/sys/kernel/core_pattern", "processes of others",
        "mount namespace", "user namespace", *of_this_machine(),
    ):  # fmt: skip
        assert f"USABLE {way}" in said, way
