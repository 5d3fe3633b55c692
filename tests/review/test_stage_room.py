"""What a session may still write in its workspace, as far as it is known before it is written."""

from __future__ import annotations

import pytest

from agent_runner.stage_room import CopyRoom
from sandbox.errors import OperationError
from sandbox.stage.quota import StageLimits

KIB = 1024
LIMITS = StageLimits(written_bytes=64 * KIB, written_files=10, reserve_bytes=0, reserve_inodes=0)


async def test_a_remove_that_the_guest_refuses_takes_nothing_off_the_account() -> None:
    """`files remove d` of a folder that is not empty fails, and what is in it stays; `recursive` takes it."""
    room = CopyRoom(LIMITS)
    await room.admit("files.write", {"path": "d/a"}, 40 * KIB)

    await room.admit("files.remove", {"path": "d"}, 0)
    await room.admit("files.remove", {"path": "d", "recursive": False}, 0)

    with pytest.raises(OperationError, match="written_bytes"):
        await room.admit("files.write", {"path": "b"}, 40 * KIB)
    await room.admit("files.remove", {"path": "d", "recursive": True}, 0)
    await room.admit("files.write", {"path": "b"}, 40 * KIB)
    await room.admit("files.remove", {"path": "b"}, 0)
    await room.admit("files.write", {"path": "c"}, 40 * KIB)
