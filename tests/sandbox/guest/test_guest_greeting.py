"""The guest greets its host before it loads what serves it; nothing of that is missing afterwards."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import LinkClosedError, OperationFailedError
from sandbox.guest import facts, frames
from sandbox.guest.objects import encode_object
from sandbox.guest.worker import OPERATIONS
from sandbox.inflow import Drawn
from sandbox.link import Link
from tests.sandbox.guest.launch import GUEST, command, end, reachable_folder, running, start

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGED = """
import sys
sys.path.append({above!r})
sys.argv[0] = {start!r}
import guest.main
{change}
guest.main.main(sys.argv[1:])
"""
NOTHING_SERVES = "sys.modules['guest.serve'] = None"
LAID_OPEN = """
from guest import probes
tried = probes.Trial.answers
probes.Trial.answers = lambda trial: {**tried(trial), "open_link": "allowed"}
"""
BEAT = frames.encode(frames.BEAT, 0)
BROKEN_RULE, WALL_CLOCK = 5, 6


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


def changed_by(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have guests started in which something is otherwise."""
    script = CHANGED.format(above=str(GUEST.parent.parent), start=str(GUEST), change=change)

    def changed(root: Path, *flags: str) -> list[str]:
        whole = command(root, *flags)
        at = whole.index(str(GUEST))
        return [*whole[:at], "-c", script, *whole[at + 1 :]]

    monkeypatch.setattr("tests.sandbox.guest.launch.command", changed)


async def test_the_host_is_answered_before_what_serves_it_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_by(NOTHING_SERVES, monkeypatch)
    process = await start(folder)
    assert process.stdin is not None
    assert process.stdout is not None
    link = Link(Drawn(process.stdout), process.stdin)
    try:
        told = await link.hello(secrets.token_hex(8), wall_seconds=60)
        with pytest.raises(LinkClosedError):
            await link.call("files.stat", {"path": "."})
    finally:
        await link.close()

    assert told["pid"] == 1
    assert await end(process) == 7


async def test_a_worker_loads_each_operation_that_it_is_asked_for(folder: Path) -> None:
    """A module or a name that is not there would cost the worker its life: code `lost`."""
    codes = {}
    async with running(folder) as guest:
        for name in OPERATIONS:
            with pytest.raises(OperationFailedError) as failed:
                await guest.link.call(name, {"nothing": "of the kind"})
            codes[name] = failed.value.code

    assert codes.pop("process.spawn") == "no-exec"
    assert set(codes.values()) == {"arguments"}


async def test_what_cannot_be_loaded_costs_the_guest_nothing_but_that_operation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of the session may have taken the memory, before the guest had nothing better to do."""
    changed_by("sys.modules['guest.patch'] = None", monkeypatch)
    async with running(folder) as guest:
        with pytest.raises(OperationFailedError) as failed:
            await guest.link.call("files.patch", {"path": "a", "form": "diff"})
        await asyncio.to_thread(wait_for_children, guest.process.pid, 2)
        answer = await guest.link.call("files.stat", {"path": "."})

    assert failed.value.code == "lost"
    assert answer.result["kind"] == "folder"


def wait_for_children(process: int, count: int) -> None:
    """Wait until a guest has had nothing better to do than to fork workers."""
    deadline = time.monotonic() + 60
    while len(children(children(process)[0])) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


async def test_what_comes_in_one_piece_with_the_greeting_is_obeyed(folder: Path) -> None:
    said, code = await answered(folder, behind=BEAT)

    assert said.endswith(BEAT)
    assert code == WALL_CLOCK


@pytest.mark.parametrize(("behind", "expected"), [(BEAT, BROKEN_RULE), (b"", WALL_CLOCK)])
async def test_a_link_that_is_to_be_sealed_takes_nothing_before_its_key(
    folder: Path, behind: bytes, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that can open the link's descriptors could have said it."""
    changed_by(LAID_OPEN, monkeypatch)

    _, code = await answered(folder, behind=behind)

    assert code == expected


@pytest.mark.parametrize("begun", [b"", b"\0\0"], ids=["nothing", "a part of a frame"])
async def test_a_guest_that_nobody_greets_ends(
    folder: Path, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link need not close: a runner may be stopped before it has spoken."""
    changed_by("import guest.greeting; guest.greeting.START_LEASE_SECONDS = 0.5", monkeypatch)
    process = await start(folder)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(begun)

    words = await process.stderr.read()

    assert words == b"pairlock guest: no HELLO from the host for 0.5 seconds\n"
    assert await end(process) == 3


async def answered(folder: Path, *, behind: bytes) -> tuple[bytes, int]:
    """Greet a guest by hand; return all that it says until its wall clock ends it, and its exit code."""
    process = await start(folder)
    assert process.stdin is not None
    assert process.stdout is not None
    hello = encode_object({"version": frames.VERSION, "nonce": "n", "lease_seconds": 9, "wall_seconds": 1.5})
    process.stdin.write(frames.encode(frames.HELLO, 0, hello) + behind)
    said = await process.stdout.read()
    return said, await end(process)


def test_an_inherited_descriptor_is_told_however_high_its_number_is() -> None:
    opened = os.open("/dev/null", os.O_RDONLY)
    high = fcntl.fcntl(opened, fcntl.F_DUPFD, 600)
    kept_back = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 700)
    try:
        found = facts.descriptors()
    finally:
        for descriptor in (opened, high, kept_back):
            os.close(descriptor)

    assert high in found
    assert kept_back not in found
