"""What a session may still write in its workspace, as far as it is known before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.stage_room import CopyRoom, Layers, OverlayRoom
from sandbox.errors import OperationError
from sandbox.stage.quota import StageLimits, UpperWatch

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
LIMITS = StageLimits(written_bytes=64 * KIB, written_files=10, reserve_bytes=0, reserve_inodes=0)


async def test_a_remove_that_the_guest_refuses_takes_nothing_off_the_account() -> None:
    """`files remove d` of a folder that is not empty fails, and what is in it stays; `recursive` takes it."""
    room = CopyRoom(LIMITS, Layers((), frozenset()))
    await room.admit("files.write", {"path": "d/a"}, 40 * KIB)

    await room.admit("files.remove", {"path": "d"}, 0)
    await room.admit("files.remove", {"path": "d", "recursive": False}, 0)

    with pytest.raises(OperationError, match="written_bytes"):
        await room.admit("files.write", {"path": "b"}, 40 * KIB)
    await room.admit("files.remove", {"path": "d", "recursive": True}, 0)
    await room.admit("files.write", {"path": "b"}, 40 * KIB)
    await room.admit("files.remove", {"path": "b"}, 0)
    await room.admit("files.write", {"path": "c"}, 40 * KIB)


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    """An agent's layer, and a workspace with a file of 48 KiB and a hidden one below it."""
    upper, workspace = tmp_path / "upper", tmp_path / "workspace"
    upper.mkdir()
    workspace.mkdir()
    for name in ("large", ".env"):
        (workspace / name).write_bytes(bytes(48 * KIB))
    (workspace / "small").write_bytes(bytes(100))
    return Layers((upper, workspace), frozenset({".env"}))


def rooms(layers: Layers) -> tuple[CopyRoom, OverlayRoom]:
    return CopyRoom(LIMITS, layers), OverlayRoom(LIMITS, UpperWatch(layers.folders[0], LIMITS), layers)


async def test_a_patch_counts_the_file_that_is_written_anew(layers: Layers) -> None:
    for room in rooms(layers):
        await room.admit("files.write", {"path": "a"}, 20 * KIB)
        (layers.folders[0] / "a").write_bytes(bytes(20 * KIB))

        await room.admit("files.patch", {"path": "small"}, 10)
        with pytest.raises(OperationError, match="written_bytes"):
            await room.admit("files.patch", {"path": "large"}, 10)


async def test_a_move_counts_the_file_that_becomes_the_sessions(layers: Layers) -> None:
    """An overlay copies it up whole, and a copy comes back with it as new; twice moved, it counts once."""
    for room in rooms(layers):
        await room.admit("files.move", {"path": "large", "to": "b"}, 0)
        (layers.folders[0] / "b").write_bytes(bytes(48 * KIB))
        await room.admit("files.move", {"path": "b", "to": "c"}, 0)

        with pytest.raises(OperationError, match="written_bytes"):
            await room.admit("files.write", {"path": "d"}, 20 * KIB)


async def test_many_small_patches_do_not_use_up_a_copys_account(layers: Layers) -> None:
    room, _ = rooms(layers)
    for _ in range(1000):
        await room.admit("files.patch", {"path": "small", "form": "replace", "old_bytes": 20}, 40)

    assert room.written == {"small": 100}


async def test_a_refusal_says_nothing_of_a_hidden_file(layers: Layers) -> None:
    """Its length would: a file that is not there for the agent counts nothing."""
    for room in rooms(layers):
        await room.admit("files.write", {"path": "a"}, 20 * KIB)
        (layers.folders[0] / "a").write_bytes(bytes(20 * KIB))

        await room.admit("files.patch", {"path": ".env"}, 10)
        await room.admit("files.move", {"path": ".env", "to": "b"}, 10)
