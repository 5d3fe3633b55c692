"""Between a worker and a program stands `start`: what another program of the session can do to it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.attacks.test_kernel_session import run_python
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.guest.launch import reachable_folder, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox.live import Ground

TRIES = 100
LONG_PATH = "x:" * 50_000 + "/usr/bin:/bin"
FORGING = """
import errno, os, time
opened, refused = 0, set()
while not os.path.exists("enough"):
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/comm") as comm:
                if not comm.read().startswith("start-"):
                    continue
            tell = os.open(f"/proc/{name}/fd/3", os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH):
                refused.add(errno.errorcode[error.errno])
                open("seen", "w").close()
            continue
        os.write(tell, bytes([errno.ENOENT]))
        os.close(tell)
        opened += 1
        open("seen", "w").close()
print(opened, *sorted(refused - {"EACCES", "ENXIO"}))
"""
STUCK = """
import errno, json, os, subprocess, sys, time
told, tell = (os.dup(end) for end in os.pipe2(os.O_NONBLOCK))
try:
    while os.write(tell, bytes(65536)):
        pass
except BlockingIOError:
    os.set_blocking(tell, True)
os.dup2(tell, 3)  # a start without words waits there, before its limits hold, to say that it was given none
machine = os.uname().machine
found = {}
for name in ("start", "readable-start"):
    stuck = subprocess.Popen([f"/rt/guest/stub/{name}-{machine}"], pass_fds=[3])
    while open(f"/proc/{stuck.pid}/stat").read().split()[2] != "S":
        time.sleep(0.01)
    for file, way in (("mem", os.O_RDWR), ("maps", os.O_RDONLY), ("fd/3", os.O_RDWR)):
        try:
            os.close(os.open(f"/proc/{stuck.pid}/{file}", way))
            found[f"{name} {file}"] = "opened"
        except OSError as error:
            found[f"{name} {file}"] = errno.errorcode[error.errno]
    stuck.kill()
    stuck.wait()
print(json.dumps(found))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


async def test_no_program_can_say_of_another_that_it_was_not_found(folder: Path) -> None:
    """What `start` would say travels through a socket, which nobody can open by way of /proc."""
    async with running(folder, "--exec") as guest:
        forging = asyncio.create_task(
            guest.spawn("python3", "-I", "-S", "-c", FORGING, timeout_seconds=120.0)
        )
        for _ in range(TRIES):
            ran = await guest.spawn("echo", "ran", env={"PATH": LONG_PATH})
            assert (ran["exit_code"], ran["stdout"]) == (0, "ran\n")
            if (folder / "seen").exists():
                break
        seen = (folder / "seen").exists()
        (folder / "enough").touch()
        forged = await forging

    assert seen  # while it looked for its program, `start` was found by the other
    assert (forged["stdout"], forged["stderr"]) == ("0\n", "")


@pytest.mark.engine
async def test_no_program_reaches_into_one_that_has_no_limits_yet(ground: Ground) -> None:  # noqa: F811 - the fixture
    """B91: nobody there may read the file, so the kernel keeps its process from them; not so the twin."""
    result = await run_python(ground, STUCK)

    assert json.loads(result.output) == {
        "start mem": "EACCES",
        "start maps": "EACCES",
        "start fd/3": "EACCES",
        "readable-start mem": "opened",
        "readable-start maps": "opened",
        "readable-start fd/3": "opened",
    }
