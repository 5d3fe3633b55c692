"""A first session: the guest as PID 1, and the host's link to it."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from tests.sandbox.guest.launch import running

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_file_written_is_read_back_with_the_same_hash(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192

    async with running(tmp_path) as guest:
        written = await guest.link.call("files.write", {"path": "a/b", "create_parents": True}, body=content)
        read = await guest.link.call("files.read", {"path": "a/b", "limit_bytes": 1 << 30})

    assert written.result["sha256_after"] == hashlib.sha256(content).hexdigest()
    assert read.body == content
    assert read.result == {
        "bytes": len(content),
        "total_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


async def test_without_exec_no_program_runs(tmp_path: Path) -> None:
    async with running(tmp_path) as guest:
        with pytest.raises(OperationFailedError) as refused:
            await guest.spawn("true")
        answer = await guest.link.call("probe.run", {"names": ["execve", "execveat", "memfd_create"]})

    assert refused.value.code == "no-exec"
    assert answer.result == {"execve": "EPERM", "execveat": "EPERM", "memfd_create": "EPERM"}


async def test_with_exec_a_program_runs_and_both_outputs_come_back(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn("sh", "-c", "echo out; echo err >&2; exit 3")

    assert (result["exit_code"], result["signal"], result["timed_out"]) == (3, None, False)
    assert (result["stdout"], result["stderr"]) == ("out\n", "err\n")


async def test_sixty_four_calls_at_once_and_ten_thousand_in_a_row_hold(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)

    async with running(tmp_path) as guest:

        async def some(count: int) -> int:
            done = 0
            for _ in range(count):
                answer = await guest.link.call("files.read", {"path": "f"})
                done += answer.body == b"x" * 100
            return done

        answers = await asyncio.gather(*(some(10_000 // 64 + 1) for _ in range(64)))

    assert sum(answers) == 64 * (10_000 // 64 + 1)
