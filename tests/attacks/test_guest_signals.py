"""B117, B100: what a program can do to the process that watches it, and to PID 1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from tests.sandbox.guest.launch import Running, reachable_folder, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL_SIGNALS = (
    "import os, signal, sys\n"
    "target = int(sys.argv[1]) or os.getppid()\n"
    "sent = 0\n"
    "for number in range(1, 65):\n"
    "    if number in (9, 19) and sys.argv[2] == 'polite': continue\n"
    "    try: os.kill(target, number); sent += 1\n"
    "    except OSError as error: refused = error\n"
    "print('sent', sent, '' if sent else refused.strerror)\n"
)
KILL_THE_OTHERS = (
    "import os\n"
    "others = [int(n) for n in os.listdir('/proc') if n.isdecimal() and int(n) not in (1, os.getpid())]\n"
    "for process in others:\n"
    "    try: os.kill(process, 9)\n"
    "    except OSError: pass\n"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


async def sleepers(guest: Running) -> int:
    """Return how many `sleep` programs are left in the namespace."""
    result = await guest.spawn("sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null")
    return str(result["stdout"]).split().count("sleep")


async def until_none_sleeps(guest: Running) -> None:
    """Wait, for a while, until no `sleep` is left."""
    for _ in range(200):
        if await sleepers(guest) == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a program was left behind")


async def test_no_signal_from_a_program_ends_or_stops_pid_1(folder: Path) -> None:
    """The filter refuses them all; where it is taken away, the kernel and the guest's own ignoring hold."""
    async with running(folder, "--exec") as guest:
        result = await guest.spawn("python3", "-I", "-c", ALL_SIGNALS, "1", "rude")
        after = await guest.spawn("echo", "alive")

    assert result["stdout"] == "sent 0 Operation not permitted\n"
    assert after["stdout"] == "alive\n"


async def test_no_signal_but_two_disturbs_the_keeper_of_a_program(folder: Path) -> None:
    async with running(folder, "--exec") as guest:
        result = await guest.spawn("python3", "-I", "-c", ALL_SIGNALS, "0", "polite")

    assert (result["stdout"], result["exit_code"]) == ("sent 62 \n", 0)


async def test_a_program_that_kills_its_keeper_is_ended_with_all_it_started(folder: Path) -> None:
    script = "setsid sleep 1001 & sleep 1002 & kill -KILL $PPID; sleep 1003"

    async with running(folder, "--exec") as guest:
        with pytest.raises(OperationFailedError) as failed:
            await guest.spawn("sh", "-c", script)
        await until_none_sleeps(guest)
        after = await guest.spawn("echo", "alive")

    assert failed.value.code == "lost"
    assert after["stdout"] == "alive\n"


async def test_a_program_that_stops_its_keeper_still_meets_its_deadline(folder: Path) -> None:
    script = "setsid sleep 1001 & kill -STOP $PPID; sleep 1002"

    async with running(folder, "--exec") as guest:
        async with asyncio.timeout(30):
            with pytest.raises(OperationFailedError) as failed:
                await guest.spawn("sh", "-c", script, timeout_seconds=0.5)
            await until_none_sleeps(guest)

    assert failed.value.code == "timeout"


async def test_killing_every_worker_again_and_again_only_delays(folder: Path) -> None:
    """And `kill -9 -1`, which would reach them all at once, is refused."""
    (folder / "file").write_text("here")

    async with running(folder, "--exec") as guest:
        for _ in range(5):
            with pytest.raises(OperationFailedError):
                await guest.spawn("python3", "-I", "-c", KILL_THE_OTHERS)
        refused = await guest.spawn("sh", "-c", "kill -9 -1")
        async with asyncio.timeout(20):
            read = await guest.link.call("files.read", {"path": "file"})

    assert read.body == b"here"
    assert "not permitted" in str(refused["stderr"])


async def test_a_program_cannot_reach_into_pid_1_or_a_worker(folder: Path) -> None:
    """B91, B92: neither by ptrace nor through /proc; its own /proc entry shows that the paths are right."""
    script = (
        "import os\n"
        "for process in (1, os.getppid(), os.getpid()):\n"
        "    for name in ('mem', 'environ', 'fd', 'maps'):\n"
        "        path = f'/proc/{process}/{name}'\n"
        "        try:\n"
        "            os.listdir(path) if name == 'fd' else open(path, 'rb').close()\n"
        "            print('open', 'own' if process == os.getpid() else process, name)\n"
        "        except PermissionError: pass\n"
    )

    async with running(folder, "--exec") as guest:
        result = await guest.spawn("python3", "-I", "-c", script)

    assert str(result["stdout"]).splitlines() == [
        "open own mem",
        "open own environ",
        "open own fd",
        "open own maps",
    ]
