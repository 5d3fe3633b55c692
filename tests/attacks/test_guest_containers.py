"""The guest in real containers, under runc and under gVisor: locked down, and not to be starved."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from sandbox.guest.facts import SELF_TEST
from sandbox.guest.probes import PROBES
from tests.sandbox.guest.containers import Place, build_runtime, empty_image, remove, run
from tests.sandbox.guest.launch import NOBODY, Running, reachable_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.link import Link

pytestmark = pytest.mark.engine

ALLOWED_WITHOUT_EXEC = {"socket_unix"}
ALLOWED_WITH_ALL = ALLOWED_WITHOUT_EXEC | {
    "execve",
    "execveat",
    "memfd_create",
    "socket_inet",
    "socket_inet6",
}
PYTHON = ["/rt/bin/python3", "-I", "-S", "-c"]


@pytest.fixture(scope="module")
def laid_out() -> Iterator[tuple[str, Path, list[str]]]:
    """Return an empty image, a runtime folder and its start line."""
    with reachable_folder() as runtime, empty_image() as image:
        yield image, runtime, build_runtime(runtime)


@pytest.fixture(params=["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
def place(request: pytest.FixtureRequest, laid_out: tuple[str, Path, list[str]]) -> Place:
    """Return where containers come from, one engine runtime after the other."""
    return Place(*laid_out, request.param)


@pytest.fixture
def workspace() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


async def python(guest: Running, place: Place, script: str, **arguments: object) -> dict[str, object]:
    """Run a script with the interpreter of the runtime folder, which is all that the empty image has."""
    loader = place.start[: place.start.index("/rt/bin/python3")]
    return {**await guest.spawn(*loader, *PYTHON, script, env={"PYTHONHOME": "/rt"}, **arguments)}


@pytest.mark.parametrize("flags", [(), ("--exec", "--loopback")], ids=["no exec", "exec"])
async def test_every_probe_of_a_real_container_is_refused_but_what_was_granted(
    place: Place, workspace: Path, flags: tuple[str, ...]
) -> None:
    async with place.running(workspace, *flags) as guest:
        tried = (await guest.link.call("probe.run", {"names": [*PROBES]})).result

    allowed = {name for name, answer in tried.items() if answer == "allowed"} - {"subreaper"}
    # gVisor lets a process read the environment of one that is not dumpable: there is nothing in it. It lets
    # it open the link as well: that is what frames are sealed for.
    assert ("open_link" in allowed) == guest.link.state.is_sealed
    assert allowed - {"read_guest_environment", "open_link"} == (
        ALLOWED_WITH_ALL if flags else ALLOWED_WITHOUT_EXEC
    )
    assert "silent" not in tried.values()
    assert "unknown" not in tried.values()


async def test_the_facts_of_the_hello_are_those_of_the_container(place: Place, workspace: Path) -> None:
    async with place.running(workspace) as guest:
        facts = guest.facts

    assert (facts["pid"], facts["uids"], facts["gids"]) == (1, [NOBODY] * 3, [NOBODY] * 3)
    assert facts["interfaces"] == ["lo"]
    assert facts["descriptors"] == [0, 1, 2]
    assert set(facts["tries"]) == set(SELF_TEST)  # type: ignore[arg-type]
    threads = facts["threads"]
    assert isinstance(threads, list)
    assert [thread["Seccomp"] for thread in threads] == ["2"]  # type: ignore[index, call-overload]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd"):
        assert threads[0][name] == "0000000000000000"  # type: ignore[index, call-overload]
    targets = {mount["target"]: mount for mount in facts["mounts"]}  # type: ignore[union-attr, index, call-overload]
    assert {"/", "/rt", "/workspace"} <= set(targets)
    assert "ro" in str(targets["/rt"]["options"]).split(",")  # type: ignore[index, call-overload]


async def test_files_and_programs_work_in_an_empty_image(place: Place, workspace: Path) -> None:
    async with place.running(workspace, "--exec") as guest:
        await guest.link.call("files.write", {"path": "a/b", "create_parents": True}, body=b"x" * 300_000)
        read = await guest.link.call("files.read", {"path": "a/b", "limit_bytes": 1 << 20})
        ran = await python(guest, place, "print(len(open('a/b').read()))")
        code = None
        try:
            await guest.link.call("files.read", {"path": "../rt/bin/python3"})
        except OperationFailedError as error:
            code = error.code

    assert read.body == b"x" * 300_000
    assert (ran["stdout"], ran["exit_code"]) == ("300000\n", 0)
    assert code == "path"


async def test_a_timeout_leaves_no_process_in_the_container(place: Place, workspace: Path) -> None:
    """B100, for an escapee in a session of its own that its parent has left."""
    script = (
        "import os, time\n"
        "for leave in (False, True):\n"
        "    if os.fork() == 0:\n"
        "        if leave: os.setsid()\n"
        "        if os.fork() == 0 or not leave: time.sleep(1000)\n"
        "        os._exit(0)\n"
        "print('started', flush=True)\n"
        "time.sleep(1000)\n"
    )
    count = (
        "import os\n"
        "lines = [open(f'/proc/{n}/cmdline').read() for n in os.listdir('/proc') if n.isdecimal()]\n"
        "print(sum('time.sleep' in line for line in lines))\n"
    )

    async with place.running(workspace, "--exec") as guest:
        result = await python(guest, place, script, timeout_seconds=2.0)
        left = await python(guest, place, count.replace("time.sleep", "time.sl' 'eep"))

    assert (result["timed_out"], result["stdout"]) == (True, "started\n")
    assert left["stdout"] == "0\n"


async def test_signals_from_a_program_do_not_end_the_container(place: Place, workspace: Path) -> None:
    """B117; gVisor of 2022 would let SIGKILL and SIGSTOP through to PID 1: the filter does not."""
    script = (
        "import os\n"
        "refused = 0\n"
        "for number in range(1, 65):\n"
        "    try: os.kill(1, number)\n"
        "    except PermissionError: refused += 1\n"
        "print(refused)\n"
    )

    async with place.running(workspace, "--exec") as guest:
        sent = await python(guest, place, script)
        after = await python(guest, place, "print('alive')")

    assert (sent["stdout"], after["stdout"]) == ("64\n", "alive\n")


async def test_signals_by_way_of_a_descriptor_of_proc_end_nothing(place: Place, workspace: Path) -> None:
    """B117: pidfd_send_signal(2) takes a descriptor of /proc/1, whose meaning no filter of arguments sees."""
    script = (
        "import ctypes, os\n"
        "folder = os.open('/proc/1', os.O_RDONLY | os.O_DIRECTORY)\n"
        "send = ctypes.CDLL(None).syscall\n"
        "print(len([send(424, folder, number, None, 0) for number in range(1, 65)]))\n"
    )

    async with place.running(workspace, "--exec") as guest:
        sent = await python(guest, place, script)
        after = await python(guest, place, "print('alive')")

    assert (sent["stdout"], after["stdout"]) == ("64\n", "alive\n")


async def test_no_detour_of_a_program_signals_or_slows_pid_1(place: Place, workspace: Path) -> None:
    """B117: the signal of a pipe that is ready, whose owner is PID 1; its priority, which goes by uid alone.

    Under gVisor of 2022 the first ended the session, under Linux the second slowed the guest down for good.
    """
    script = (
        "import fcntl, os\n"
        "tries = [\n"
        "    lambda: fcntl.fcntl(0, fcntl.F_SETOWN, 1),\n"
        "    lambda: fcntl.fcntl(0, fcntl.F_SETOWN, -1),\n"
        "    lambda: fcntl.fcntl(0, 15, b'\\0\\0\\0\\0\\1\\0\\0\\0'),\n"
        "    lambda: fcntl.ioctl(0, 0x8901, b'\\1\\0\\0\\0'),\n"
        "    lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),\n"
        "    lambda: os.setpriority(os.PRIO_PGRP, 1, 19),\n"
        "    lambda: os.setpriority(os.PRIO_USER, 0, 19),\n"
        "]\n"
        "refused = 0\n"
        "for attempt in tries:\n"
        "    try: attempt()\n"
        "    except PermissionError: refused += 1\n"
        "os.setpriority(os.PRIO_PROCESS, 0, 7)\n"
        "fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())\n"
        "print(refused, len(tries), os.getpriority(os.PRIO_PROCESS, 1), os.getpriority(os.PRIO_PROCESS, 0))\n"
    )

    async with place.running(workspace, "--exec") as guest:
        tried = await python(guest, place, script)
        after = await python(guest, place, "print('alive')")

    assert (tried["stdout"], after["stdout"]) == ("7 7 0 7\n", "alive\n")


async def test_workers_that_a_program_stops_or_kills_are_woken_or_replaced(
    place: Place, workspace: Path
) -> None:
    """Under both kernels: an action's own time is 30 seconds, and it takes none of it."""
    script = (
        "import os, sys\n"
        "for name in os.listdir('/proc'):\n"
        "    if name.isdecimal() and int(name) not in (1, os.getpid(), os.getppid()):\n"
        "        try: os.kill(int(name), {number})\n"
        "        except OSError: pass\n"
    )

    async with place.running(workspace, "--exec") as guest:
        for number in (19, 9):
            await python(guest, place, script.format(number=number))
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(kind_of_root(guest.link) for _ in range(6)))

    assert answers == ["folder"] * 6


async def kind_of_root(link: Link) -> object:
    """Return what the workspace's root is; one that met a dying worker was told so, and asks again."""
    while True:
        try:
            return (await link.call("files.stat", {"path": "."})).result["kind"]
        except OperationFailedError as error:
            assert "was ended" in str(error)  # noqa: PT017 - any other is a failure


async def test_a_full_scratch_and_a_program_that_takes_all_memory_leave_the_guest_alive(
    laid_out: tuple[str, Path, list[str]], workspace: Path
) -> None:
    """What lies in the scratch is memory, too, that nobody can take back: the program is what dies."""
    place = Place(*laid_out, "runc")
    script = (
        "import os\n"
        "full = open('/tmp/full', 'wb')\n"
        "try:\n"
        "    while True: full.write(bytes(1 << 20))\n"
        "except OSError: print('full', flush=True)\n"
        "if os.fork(): held = []\n"
        "else: held = [bytearray(16 << 20)]\n"
        "while True: held.append(bytearray(4 << 20))\n"
    )
    scratch = f"--tmpfs=/tmp:rw,size=48m,mode=0700,uid={NOBODY},gid={NOBODY}"

    options = ("--memory=128m", "--memory-swap=128m", scratch)
    async with place.running(workspace, "--exec", options=options) as guest:
        result = await python(guest, place, script, timeout_seconds=60.0)
        read = await guest.link.call("files.stat", {"path": "."})
        after = await python(guest, place, "print('alive')")

    assert str(result["stdout"]).startswith("full\n")
    assert result["signal"] == 9 or "MemoryError" in str(result["stderr"])
    assert read.result["kind"] == "folder"
    assert after["stdout"] == "alive\n"


async def test_a_fork_bomb_neither_starves_the_files_nor_outlives_its_time(
    laid_out: tuple[str, Path, list[str]], workspace: Path
) -> None:
    """B97: the bomb takes every process there is; two workers are there from before."""
    place = Place(*laid_out, "runc")
    bomb = "import os\nos.write(1, b'ready')\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
    ready = asyncio.Event()

    async def seen(_data: bytes) -> None:
        ready.set()

    async with place.running(workspace, "--exec", options=("--cpus=1",)) as guest:
        loader = place.start[: place.start.index("/rt/bin/python3")]
        values = {
            "argv": [*loader, *PYTHON, bomb],
            "cwd": ".",
            "env": {"PYTHONHOME": "/rt"},
            "timeout_seconds": 4.0,
        }
        bombing = asyncio.create_task(guest.link.call("process.spawn", values, on_body=seen))  # type: ignore[arg-type]
        await ready.wait()
        await asyncio.sleep(1.5)
        await guest.link.call("files.write", {"path": "meanwhile", "timeout_seconds": 60}, body=b"here")
        during = await guest.link.call("files.read", {"path": "meanwhile", "timeout_seconds": 60})
        answer = await bombing
        after = await python(
            guest, place, "import os; print(len([n for n in os.listdir('/proc') if n.isdecimal()]))"
        )

    assert during.body == b"here"
    assert answer.result["timed_out"] is True
    assert int(str(after["stdout"])) < 10


async def test_a_program_that_takes_all_memory_is_the_one_that_dies(
    laid_out: tuple[str, Path, list[str]], workspace: Path
) -> None:
    place = Place(*laid_out, "runc")
    script = "held = []\nwhile True: held.append(bytearray(8 << 20))"

    async with place.running(workspace, "--exec", options=("--memory=128m", "--memory-swap=128m")) as guest:
        result = await python(guest, place, script, timeout_seconds=60.0)
        after = await python(guest, place, "print('alive')")

    assert result["signal"] == 9 or "MemoryError" in str(result["stderr"])
    assert after["stdout"] == "alive\n"


async def test_removing_the_host_end_removes_the_container(place: Place, workspace: Path) -> None:
    """The guest ends with its link, and `--rm` does the rest: nothing is orphaned."""
    async with place.running(workspace, "--exec") as guest:
        await guest.link.close()
        names = guest.name
        for _ in range(200):
            if names not in run("docker", "ps", "--format", "{{.Names}}"):
                break
            await asyncio.sleep(0.1)
        left = re.findall(re.escape(names), run("docker", "ps", "--format", "{{.Names}}"))
        remove(names)

    assert left == []
