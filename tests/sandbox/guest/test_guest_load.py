"""Much at once: floods, orphans, cancellations, and two pipes that speak in turn."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import GuestUnresponsiveError, OperationFailedError
from sandbox.link_events import BodyReceived
from tests.sandbox.guest.launch import PATH, Running, end, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sandbox.guest.objects import Object

IN_TURN = (
    "import os, sys\n"
    "for turn in range(20):\n"
    "    os.write(1 + turn % 2, b'%d ' % turn)\n"
    "    sys.stdin.buffer.raw.read(1)\n"
)


async def test_both_pipes_are_streamed_as_they_speak_and_in_their_order(tmp_path: Path) -> None:
    """Each piece is here before the program writes the next, which waits for an answer to it."""
    heard: list[tuple[str, str]] = []

    async with running(tmp_path, "--exec") as guest:
        values: Object = {"argv": ["python3", "-I", "-S", "-c", IN_TURN], "cwd": ".", "env": {**PATH}}
        async with guest.link.open("process.spawn", values) as stream:
            while (chunk := await stream.next()) is not None:
                heard.append(("out" if isinstance(chunk, BodyReceived) else "err", chunk.data.decode()))
                await stream.send(b"x")
            result = await stream.result()

    assert result["exit_code"] == 0
    assert heard == [("err" if turn % 2 else "out", f"{turn} ") for turn in range(20)]


async def test_a_running_action_is_cancelled_at_once_and_the_others_go_on(tmp_path: Path) -> None:
    """A program, a search that would take minutes, and a write whose body never comes."""
    (tmp_path / "text").write_text("a" * 200_000)
    never = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await never.wait()

    async with running(tmp_path, "--exec") as guest:
        link = guest.link
        slow: Object = {"path": ".", "pattern": "(a*)*b", "seconds": 50, "timeout_seconds": 600}
        calls = [
            asyncio.create_task(guest.spawn("sleep", "1001")),
            asyncio.create_task(link.call("files.search", slow)),
            asyncio.create_task(link.call("files.write", {"path": "new"}, body=body())),
        ]
        other = asyncio.create_task(guest.spawn("sh", "-c", "sleep 1; echo done"))
        await asyncio.sleep(0.3)
        for call in calls:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(20):
            while guest.link.state.open_streams > 1:  # noqa: ASYNC110 (the guest answers each CANCEL)
                await asyncio.sleep(0.05)
        left = await other
        names = sorted(os.listdir(tmp_path))  # noqa: PTH208 (one small folder)

    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
    assert left["stdout"] == "done\n"
    assert names == ["text"]


async def test_sixty_four_programs_at_once_each_get_their_own_output(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        results = await asyncio.gather(
            *(guest.spawn("sh", "-c", f"echo {n}; echo {n} >&2; exit {n}") for n in range(64))
        )

    assert [(each["stdout"], each["stderr"], each["exit_code"]) for each in results] == [
        (f"{n}\n", f"{n}\n", n) for n in range(64)
    ]


async def latency(guest: Running, rounds: int) -> float:
    """Return the median time of a small action, in seconds."""
    samples = []
    for _ in range(rounds):
        start = time.perf_counter()
        await guest.link.call("files.stat", {"path": "."})
        samples.append(time.perf_counter() - start)
    return sorted(samples)[rounds // 2]


@pytest.mark.long
async def test_a_gibibyte_that_is_cut_delays_no_other_action_and_takes_no_memory(tmp_path: Path) -> None:
    """The bytes beyond the bound stay in the container: the host sees what it asked for, and no more."""
    flood: Object = {
        "argv": ["head", "-c", str(1 << 30), "/dev/zero"],
        "cwd": ".",
        "env": {**PATH},
        "output_bytes": 1 << 20,
        "timeout_seconds": 300.0,
    }

    async with running(tmp_path, "--exec") as guest:
        alone = await latency(guest, 50)
        before = resident_bytes()
        flooding = asyncio.create_task(guest.link.call("process.spawn", flood))
        samples = []
        while not flooding.done():
            samples.append(await latency(guest, 3))
        answer = await flooding
        after = resident_bytes()

    assert len(answer.body) == 1 << 20
    assert answer.result["truncated_bytes"] == (1 << 30) - (1 << 20)
    assert len(samples) >= 3
    # The flood takes a processor, and so does whatever else runs here: no more than that.
    assert sorted(samples)[len(samples) // 2] < 20 * alone + 0.05
    assert after - before < 64 << 20


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


ORPHANS = (
    "import os\n"
    "for _ in range(2000):\n"
    "    if os.fork() == 0:\n"
    "        if os.fork() == 0:\n"
    "            os.setsid()\n"
    "            os._exit(0)\n"
    "        os._exit(0)\n"
    "    os.wait()\n"
)
ZOMBIES = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"


@pytest.mark.long
async def test_ten_thousand_orphans_are_reaped(tmp_path: Path) -> None:
    """Each in a session of its own, given away by a parent that is gone."""
    async with running(tmp_path, "--exec") as guest:
        for _ in range(5):
            made = await guest.spawn("python3", "-I", "-S", "-c", ORPHANS, timeout_seconds=120.0)
            assert made["exit_code"] == 0, made
        counted = await guest.spawn("sh", "-c", ZOMBIES)
        alive = await guest.spawn("sh", "-c", "ls -d /proc/[0-9]* | wc -l")

    assert counted["stdout"] == "0\n"
    assert int(str(alive["stdout"])) < 12


async def test_a_session_that_ends_leaves_no_process_behind(tmp_path: Path) -> None:
    """Those that forked twice, changed their session and closed everything, too."""
    marker = f"20{os.getpid()}.5"
    hide = f"(setsid sh -c 'exec 0<&- 1>&- 2>&-; sleep {marker} & sleep {marker}' &) ; sleep {marker}"

    async with running(tmp_path, "--exec") as guest:
        asleep = asyncio.create_task(guest.spawn("sh", "-c", hide))
        await until(lambda: sleeping(marker) >= 3)
        await guest.link.close()
        await asyncio.wait([asleep])
        await end(guest.process)
        await until(lambda: sleeping(marker) == 0)

    assert asleep.exception() is not None


def only_child(process: int) -> int:
    """Return the one child of a process."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text())


async def until(holds: Callable[[], bool]) -> None:
    """Wait, for a while, until something holds."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 (the kernel tells nobody)
            await asyncio.sleep(0.05)


def sleeping(marker: str) -> int:
    """Return how many `sleep` programs of this machine have the marker as their argument."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes().split(b"\0")[:2] == [b"sleep", marker.encode()]
        except OSError:
            continue
    return found


@pytest.mark.long
@pytest.mark.parametrize("runs", [True, False], ids=["while it works", "while it is idle"])
async def test_a_guest_that_stops_answering_is_found_out(tmp_path: Path, runs: bool) -> None:  # noqa: FBT001 (drawn)
    """Frozen from outside, as by a kernel that hangs: the beats tell, whether an action runs or not."""
    async with running(tmp_path, "--exec") as guest:
        working = asyncio.create_task(guest.spawn("sleep", "1001", timeout_seconds=3600.0)) if runs else None
        await asyncio.sleep(0.3)
        pid_1 = only_child(guest.process.pid)
        os.kill(pid_1, signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):
                with pytest.raises(GuestUnresponsiveError):
                    await (working or guest.link.call("files.stat", {"path": "."}))
        finally:
            os.kill(pid_1, signal.SIGCONT)

    with pytest.raises(GuestUnresponsiveError):
        await guest.link.call("files.stat", {"path": "."})


async def test_small_answers_pass_a_large_one_that_nobody_takes(tmp_path: Path) -> None:
    """A consumer that does not take holds back its own stream, and no other."""
    (tmp_path / "large").write_bytes(bytes(8 << 20))
    stuck = asyncio.Event()

    async def take_nothing(_data: bytes) -> None:
        await stuck.wait()

    async with running(tmp_path) as guest:
        values: Object = {"path": "large", "limit_bytes": 1 << 30}
        reading = asyncio.create_task(
            guest.link.call("files.read", values, on_body=take_nothing, limit_bytes=1 << 30)
        )
        async with asyncio.timeout(30):
            for _ in range(100):
                await guest.link.call("files.stat", {"path": "large"})
        stuck.set()
        answer = await reading

    assert answer.result["bytes"] == 8 << 20


async def test_what_is_more_than_the_caller_allowed_ends_the_action_and_not_the_session(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "--exec") as guest:
        values: Object = {"argv": ["yes"], "cwd": ".", "env": {**PATH}, "output_bytes": 1000}
        bounded = await guest.link.call("process.spawn", {**values, "timeout_seconds": 0.5})
        with pytest.raises(OperationFailedError) as refused:
            await guest.link.call("process.spawn", {**values, "output_bytes": 1 << 50})
        after = await guest.spawn("echo", "alive")

    assert len(bounded.body) == 1000
    assert bounded.result["timed_out"] is True
    assert refused.value.code == "arguments"
    assert after["stdout"] == "alive\n"
