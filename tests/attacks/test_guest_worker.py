"""A worker that was taken over by what it worked on: PID 1 believes nothing of what it sends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from tests.sandbox.guest.launch import GUEST, command, reachable_folder, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAKEN_OVER = """
import sys
sys.path.append({above!r})
import guest.main
from guest import frames, worker

def evil(task, beneath):
    wire = task.channel._wire
    stream = task.stream
    frame = lambda kind, number, payload=b"": frames.HEADER.pack(len(payload), kind, number) + payload
    wire.send({attack})
    return {{}}

worker.OPERATIONS["files.stat"] = evil
guest.main.main(sys.argv[1:])
"""

ATTACKS = {
    "noise": 'b"\\xff" * 100',
    "a frame for another's stream": 'frame(8, stream + 2, b"{}")',
    "a frame for the link itself": 'frame(1, 0, b"{}")',
    "a beat": "frame(2, 0)",
    "an OPEN": 'frame(3, stream, b"{}")',
    "credit": 'frame(7, stream, b"\\0\\1\\0\\0")',
    "a result that is no object": 'frame(8, stream, b"[1]")',
    "a failure that is no object": 'frame(9, stream, b"\\xff\\xff")',
    "an end": "frame(6, stream)",
    "a length without end": "frames.HEADER.pack(0xFFFFFFFF, 4, stream)",
}
FLOOD = (
    "[task.send_body(bytes(65536)) for _ in range(1024)] and "  # `send_body` waits until all is sent
    'frame(4, stream, b"x")'
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


@contextlib.contextmanager
def guest_with(attack: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have guests started whose `files.stat` sends `attack` to PID 1."""
    script = TAKEN_OVER.format(above=str(GUEST.parent.parent), attack=attack)

    def changed(root: Path, *flags: str) -> list[str]:
        whole = command(root, *flags)
        at = whole.index(str(GUEST))
        return [*whole[:at], "-c", script, *whole[at + 1 :]]

    with monkeypatch.context() as patched:
        patched.setattr("tests.sandbox.guest.launch.command", changed)
        yield


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_what_a_worker_may_not_send_costs_it_its_life_and_nothing_else(
    folder: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("here")

    with guest_with(attack, monkeypatch):
        async with running(folder) as guest:
            with pytest.raises(OperationFailedError) as failed:
                await guest.link.call("files.stat", {"path": "file"})
            read = await guest.link.call("files.read", {"path": "file"})

    assert failed.value.code == "lost"
    assert read.body == b"here"


async def test_a_worker_that_answers_twice_is_not_believed_the_second_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("here")

    with guest_with("frame(8, stream, b'{\"first\":1}') * 2", monkeypatch):
        async with running(folder) as guest:
            first = await guest.link.call("files.stat", {"path": "file"})
            read = await guest.link.call("files.read", {"path": "file"})

    assert first.result == {"first": 1}
    assert read.body == b"here"


async def test_a_worker_that_floods_is_held_to_the_hosts_credit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends 64 MiB at once; the host takes what it wants, and memory stays bounded on the way."""
    flood = FLOOD
    taken = 0

    async def count(data: bytes) -> None:
        nonlocal taken
        taken += len(data)

    with guest_with(flood, monkeypatch):
        async with running(folder) as guest:
            answer = await guest.link.call("files.stat", {"path": "x"}, on_body=count, limit_bytes=1 << 30)

    assert taken == 1024 * 65536 + 1
    assert answer.result == {}
