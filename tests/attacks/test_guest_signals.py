"""B117, B100: what a program can do to the process that watches it, and to PID 1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from tests.sandbox.guest.launch import Running, reachable_folder, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sandbox.guest.objects import Object

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


async def test_a_program_that_stops_its_keeper_has_it_woken_and_meets_its_deadline(folder: Path) -> None:
    script = "setsid sleep 1001 & kill -STOP $PPID; sleep 1002"

    async with running(folder, "--exec") as guest:
        async with asyncio.timeout(30):
            result = await guest.spawn("sh", "-c", script, timeout_seconds=0.5)
            await until_none_sleeps(guest)

    assert result["timed_out"] is True


async def test_a_program_that_stops_its_keeper_again_and_again_is_ended(folder: Path) -> None:
    script = "setsid sleep 1001 & while kill -STOP $PPID; do :; done; sleep 1002"

    async with running(folder, "--exec") as guest:
        async with asyncio.timeout(30):
            with pytest.raises(OperationFailedError) as failed:
                await guest.spawn("sh", "-c", script, timeout_seconds=3600.0)
            await until_none_sleeps(guest)
        after = await guest.spawn("echo", "alive")

    assert failed.value.code == "lost"
    assert after["stdout"] == "alive\n"


SIGNAL_THE_OTHERS = (
    "import os, sys\n"
    "others = [int(n) for n in os.listdir('/proc') if n.isdecimal()]\n"
    "for process in others:\n"
    "    if process not in (1, os.getpid(), os.getppid()):\n"
    "        try: os.kill(process, int(sys.argv[1]))\n"
    "        except OSError: pass\n"
)


async def test_workers_that_a_program_stopped_cost_an_action_no_time_out(folder: Path) -> None:
    """Idle ones, and one in the middle of its work: each is woken at once."""
    (folder / "file").write_text("here")
    halfway = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await halfway.wait()
        yield b"second"

    async with running(folder, "--exec") as guest:
        writing = asyncio.create_task(guest.link.call("files.write", {"path": "slow"}, body=body()))
        await asyncio.sleep(0.3)
        await guest.spawn("python3", "-I", "-S", "-c", SIGNAL_THE_OTHERS, "19")
        halfway.set()
        async with asyncio.timeout(20):  # an action's own time is 30 seconds
            reads = [guest.link.call("files.read", {"path": "file"}) for _ in range(6)]
            read = await asyncio.gather(*reads)
            await writing

    assert [answer.body for answer in read] == [b"here"] * 6
    assert (folder / "slow").read_text() == "firstsecond"


async def test_workers_that_die_while_nobody_takes_what_they_say_are_noticed(folder: Path) -> None:
    """Eight readers whose bytes the host leaves lying, all that may work at once: killed, they make room."""
    (folder / "large").write_bytes(bytes(16 << 20))
    stuck = asyncio.Event()
    filled = asyncio.Semaphore(0)

    async def take_nothing(_data: bytes) -> None:
        filled.release()
        await stuck.wait()

    async with running(folder, "--exec") as guest:
        values: Object = {"path": "large", "limit_bytes": 1 << 30}
        reads = [
            asyncio.create_task(
                guest.link.call("files.read", values, on_body=take_nothing, limit_bytes=1 << 30)
            )
            for _ in range(8)
        ]
        for _ in reads:
            await filled.acquire()
        await guest.spawn("python3", "-I", "-S", "-c", SIGNAL_THE_OTHERS, "9")
        async with asyncio.timeout(20):
            answer = await guest.link.call("files.stat", {"path": "large"})
        stuck.set()
        outcomes = await asyncio.gather(*reads, return_exceptions=True)

    assert answer.result["bytes"] == 16 << 20
    assert {getattr(outcome, "code", "") for outcome in outcomes} == {"lost"}


LIMITS = (
    "import os, resource\n"
    "for process in (1, os.getppid()):\n"
    "    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):\n"
    "        try: resource.prlimit(process, kind, (1, 1)); print('limited')\n"
    "        except PermissionError: pass\n"
    "for change in (lambda: os.sched_setaffinity(1, {0}),\n"
    "               lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))):\n"
    "    try: change(); print('changed')\n"
    "    except PermissionError: pass\n"
    "resource.prlimit(0, resource.RLIMIT_NOFILE, (64, 64))\n"
    "os.sched_setaffinity(0, {0})\n"
    "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
)


async def test_a_program_limits_itself_and_not_the_guest(folder: Path) -> None:
    """The kernel asks for no more than the same uid: RLIMIT_CPU of a second would end PID 1."""
    async with running(folder, "--exec") as guest:
        result = await guest.spawn("python3", "-I", "-S", "-c", LIMITS)
        after = await guest.spawn("echo", "alive")

    assert (result["stdout"], result["stderr"]) == ("(64, 64)\n", "")
    assert after["stdout"] == "alive\n"


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
