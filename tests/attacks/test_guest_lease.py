"""B120: a host that is stopped, gone or too late: the guest ends, and with it every process."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.guest import frames
from sandbox.guest.objects import encode_object
from tests.sandbox.guest.launch import end, reachable_folder, running, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.guest.objects import Object


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


async def greeted(folder: Path, hello: Object) -> asyncio.subprocess.Process:
    """Start a guest and greet it by hand, as a host that then falls silent."""
    process = await start(folder, "--exec")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(frames.encode(frames.HELLO, 0, encode_object({"version": 2, "nonce": "n", **hello})))
    await process.stdout.readexactly(frames.HEADER.size)
    return process


async def said(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Wait for a guest's end, and return its exit code and what it said."""
    code = await end(process)
    assert process.stderr is not None
    return code, (await process.stderr.read()).decode()


async def test_a_host_that_falls_silent_loses_its_lease(folder: Path) -> None:
    process = await greeted(folder, {"lease_seconds": 1.0, "wall_seconds": 60})

    outcome = await said(process)

    assert outcome == (3, "pairlock guest: no beat from the host for 1.0 seconds\n")


async def test_a_host_that_beats_keeps_it(folder: Path) -> None:
    async with running(folder, "--exec", lease_seconds=3.0) as guest:
        result = await guest.spawn("sleep", "5")

    assert result["exit_code"] == 0


async def test_the_wall_clock_ends_the_guest_however_well_the_host_beats(folder: Path) -> None:
    process = await greeted(folder, {"lease_seconds": 60, "wall_seconds": 1.0})

    outcome = await said(process)

    assert outcome == (6, "pairlock guest: the wall clock of the session ran out\n")


async def test_a_link_that_closes_ends_the_guest_and_quietly(folder: Path) -> None:
    """Not its lease, nor its clock: those have codes and words of their own."""
    process = await greeted(folder, {"lease_seconds": 60, "wall_seconds": 60})
    assert process.stdin is not None

    process.stdin.close()
    outcome = await said(process)

    assert outcome == (0, "")


async def test_with_the_guest_every_program_ends(folder: Path) -> None:
    async with running(folder, "--exec") as guest:
        marker = f"10{os.getpid()}.5"
        asleep = asyncio.create_task(guest.spawn("sh", "-c", f"setsid sleep {marker} & sleep {marker}"))
        await asyncio.sleep(0.5)
        before = count(marker)
        await guest.link.close()
        await asyncio.wait([asleep])
        await end(guest.process)
        for _ in range(200):
            if count(marker) == 0:
                break
            await asyncio.sleep(0.05)

    assert before >= 2
    assert count(marker) == 0
    assert asleep.exception() is not None


def count(marker: str) -> int:
    """Return how many processes of this machine have the marker among their arguments."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += marker.encode() in path.read_bytes().split(b"\0")
        except OSError:
            continue
    return found


async def test_a_guest_that_was_frozen_does_not_blame_the_host(folder: Path) -> None:
    """A paused container wakes up with its lease long over, and the beats still in the pipe."""
    async with running(folder, "--exec", lease_seconds=3.0) as guest:
        pid_1 = child_of(guest.process.pid)
        os.kill(pid_1, signal.SIGSTOP)
        await asyncio.sleep(5)
        os.kill(pid_1, signal.SIGCONT)

        result = await guest.spawn("echo", "awake")

    assert result["stdout"] == "awake\n"


async def test_a_frozen_time_counts_for_nobody(folder: Path) -> None:
    """Nothing waits in the pipe when it wakes: the host, frozen too, gets what was left of its lease."""
    process = await greeted(folder, {"lease_seconds": 3.0, "wall_seconds": 60})
    assert process.stdin is not None
    assert process.stdout is not None
    pid_1 = child_of(process.pid)

    os.kill(pid_1, signal.SIGSTOP)
    await asyncio.sleep(5)
    os.kill(pid_1, signal.SIGCONT)
    await asyncio.sleep(0.3)
    process.stdin.write(frames.encode(frames.BEAT, 0))
    answer = await process.stdout.read()  # until it ends, its lease over for good

    assert answer.endswith(frames.encode(frames.BEAT, 0))
    assert (await said(process))[0] == 3


def child_of(process: int) -> int:
    """Return the first child of `unshare`: the guest."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frames.encode(frames.BEAT, 0), "BEAT before HELLO"),
        (frames.encode(frames.OPEN, 1, b"{}"), "OPEN before HELLO"),
        (b"\xff" * 9, "does not exist"),
        (frames.encode(frames.HELLO, 0, b"{}"), "HELLO without a nonce"),
        (frames.encode(frames.HELLO, 0, b'{"nonce":"n"}'), "HELLO without `lease_seconds`"),
        (
            frames.encode(frames.HELLO, 0, b'{"nonce":"n","lease_seconds":9999,"wall_seconds":1}'),
            "up to 300",
        ),
        (
            frames.encode(frames.HELLO, 0, b'{"version":9,"nonce":"n","lease_seconds":9,"wall_seconds":1}'),
            "another version",
        ),
    ],
)
async def test_a_host_that_breaks_the_rules_is_left(folder: Path, data: bytes, reason: str) -> None:
    process = await start(folder)
    assert process.stdin is not None

    process.stdin.write(data)
    code, words = await said(process)

    assert code == 5
    assert words.startswith("pairlock guest: protocol error: ")
    assert words.count("\n") == 1
    assert reason in words


@pytest.mark.parametrize(
    "data",
    [
        frames.encode(frames.OPEN, 2, b'{"op":"files.stat"}'),
        frames.encode(frames.OPEN, 1, b"[]"),
        frames.encode(frames.BODY, 1, b"x"),
        frames.encode(frames.OPEN, 3, b'{"op":"x"}') + frames.encode(frames.OPEN, 1, b'{"op":"x"}'),
        frames.encode(frames.OPEN, 1, b'{"op":"process.spawn","argv":["/bin/sleep","9"],"cwd":"."}')
        + frames.encode(frames.BODY, 1, bytes(250_000)) * 2,
        frames.encode(frames.OPEN, 1, b'{"op":"files.write","path":"a"}') + frames.encode(frames.END, 1) * 2,
        frames.encode(frames.HELLO, 0, b'{"nonce":"n"}'),
    ],
    ids=["even", "no object", "not opened", "backwards", "beyond credit", "two ends", "two hellos"],
)
async def test_a_greeted_host_that_breaks_the_rules_is_left_too(folder: Path, data: bytes) -> None:
    process = await greeted(folder, {"lease_seconds": 30, "wall_seconds": 60})
    assert process.stdin is not None

    process.stdin.write(data)
    code, words = await said(process)

    assert code == 5, words


@pytest.mark.parametrize("arguments", [[], ["--exec"], ["--everything", "/"], ["/", "--exec"], ["/nowhere"]])
async def test_a_wrong_command_line_is_one_line_on_stderr(arguments: list[str]) -> None:
    guest = Path(frames.__file__).with_name("__main__.py")
    process = await asyncio.create_subprocess_exec(
        "python3", "-I", "-S", str(guest), *arguments, stdin=-3, stdout=-3, stderr=-1
    )

    _, words = await process.communicate()

    assert process.returncode in (2, 4)
    assert words.startswith(b"pairlock guest: ")
    assert words.count(b"\n") == 1
