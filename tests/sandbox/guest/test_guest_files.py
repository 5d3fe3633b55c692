"""Files: what each operation does, and that none of them leaves the folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from tests.sandbox.guest.launch import running
from tests.sandbox.guest.shared_folder import SHADOW, code_of, leaving, names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize("operation", ["files.read", "files.list", "files.stat", "files.write"])
async def test_no_path_leaves_the_shared_folder(shared: Path, operation: str) -> None:
    """B01, B03, B06, B12; a link itself may be looked at by stat."""
    paths = leaving(shared)

    async with running(shared) as guest:
        codes = {path: await code_of(guest, operation, {"path": path}, b"") for path in paths}

    themselves = {"absolute", "up", "chain", "loop"} if operation == "files.stat" else set()
    assert {path for path, code in codes.items() if code == "done"} == themselves
    assert {code for code in codes.values() if code != "done"} == {"path"}
    assert (shared.parent / "outside").read_bytes() == SHADOW


async def test_links_that_stay_inside_are_followed(shared: Path) -> None:
    (shared / "folder").mkdir()
    (shared / "folder" / "file").write_text("here")
    (shared / "link").symlink_to("folder/../folder/file")
    (shared / "way").symlink_to("folder")

    async with running(shared) as guest:
        read = [(await guest.link.call("files.read", {"path": path})).body for path in ("link", "way/file")]
        await guest.link.call("files.write", {"path": "link"}, body=b"new")

    assert read == [b"here", b"here"]
    assert (shared / "link").is_symlink()
    assert (shared / "folder" / "file").read_text() == "new"


async def test_a_straight_operation_leads_through_no_symlink_and_moves_files_alone(shared: Path) -> None:
    """What is decided by name is done to that name alone; without the word the same is done."""
    (shared / "folder").mkdir()
    (shared / "folder" / "file").write_text("here")
    (shared / "link").symlink_to("folder/file")
    (shared / "way").symlink_to("folder")
    tries = (
        ("files.write", {"path": "link"}),
        ("files.write", {"path": "way/new"}), ("files.remove", {"path": "way/new"}),
        ("files.move", {"path": "way/file", "to": "out"}), ("files.move", {"path": "out", "to": "way/file"}),
        ("files.move", {"path": "way", "to": "new/other", "create_parents": True}),
        ("files.move", {"path": "folder", "to": "new/one/other", "create_parents": True}),
    )  # fmt: skip

    async with running(shared) as guest:
        straight = [await code_of(guest, name, {**values, "straight": True}, b"") for name, values in tries]
        before = names(shared)
        plain = [await code_of(guest, name, values, b"") for name, values in tries]

    assert straight == ["path", "path", "path", "path", "not-found", "path", "is-folder"]
    assert plain == ["done"] * 7
    assert "new" not in before


async def test_a_file_with_another_name_is_not_written_in_place(shared: Path) -> None:
    """Where only the file can be written, not its folder; the twin is a file with one name."""
    (shared / "folder").mkdir()
    for name in ("one", "two"):
        (shared / "folder" / name).write_text("old")
    (shared / "other").hardlink_to(shared / "folder" / "two")
    (shared / "folder").chmod(0o555)

    async with running(shared) as guest:
        codes = [
            await code_of(guest, "files.write", {"path": f"folder/{name}"}, b"new") for name in ("one", "two")
        ]
        (shared / "folder").chmod(0o755)

    assert codes == ["done", "denied"]
    assert [(shared / name).read_text() for name in ("folder/one", "other")] == ["new", "old"]


async def test_what_would_block_is_refused_at_once(shared: Path) -> None:
    """A FIFO, a socket, a device (B17)."""
    os.mkfifo(shared / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared / "socket"))
        async with running(shared) as guest:
            async with asyncio.timeout(10):
                codes = {
                    (operation, name): await code_of(guest, operation, {"path": name})
                    for operation in ("files.read", "files.write")
                    for name in ("fifo", "socket")
                }
            kinds = [
                (await guest.link.call("files.stat", {"path": name})).result["kind"]
                for name in ("fifo", "socket")
            ]

    assert set(codes.values()) == {"special"}
    assert kinds == ["special", "special"]


async def test_a_fifo_that_somebody_writes_to_is_refused_too(shared: Path) -> None:
    os.mkfifo(shared / "fifo")
    descriptor = os.open(shared / "fifo", os.O_RDWR)
    try:
        os.write(descriptor, b"bait")
        async with running(shared) as guest:
            assert await code_of(guest, "files.read", {"path": "fifo"}) == "special"
    finally:
        os.close(descriptor)


async def test_a_folder_is_no_file_and_a_file_is_no_folder(shared: Path) -> None:
    (shared / "folder").mkdir()
    (shared / "file").touch()

    async with running(shared) as guest:
        codes = [
            await code_of(guest, "files.read", {"path": "folder"}),
            await code_of(guest, "files.write", {"path": "folder"}),
            await code_of(guest, "files.list", {"path": "file"}),
            await code_of(guest, "files.read", {"path": "file/x"}),
            await code_of(guest, "files.read", {"path": "nothing"}),
        ]

    assert codes == ["is-folder", "is-folder", "not-folder", "not-folder", "not-found"]


async def test_a_part_of_a_file_is_read(shared: Path) -> None:
    (shared / "file").write_bytes(bytes(range(200)))

    async with running(shared) as guest:
        part = await guest.link.call("files.read", {"path": "file", "offset": 190, "limit_bytes": 5})
        beyond = await guest.link.call("files.read", {"path": "file", "offset": 999})

    assert part.body == bytes(range(190, 195))
    assert part.result == {"bytes": 5, "total_bytes": 200, "sha256": hashlib.sha256(part.body).hexdigest()}
    assert (beyond.body, beyond.result["bytes"]) == (b"", 0)


async def test_a_write_keeps_the_mode_and_tells_both_hashes(shared: Path) -> None:
    (shared / "tool").write_bytes(b"old")
    (shared / "tool").chmod(0o751)

    async with running(shared) as guest:
        old = (await guest.link.call("files.write", {"path": "tool"}, body=b"new")).result
        new = (await guest.link.call("files.write", {"path": "fresh", "mode": 0o600}, body=b"")).result

    assert stat.S_IMODE((shared / "tool").stat().st_mode) == 0o751
    assert stat.S_IMODE((shared / "fresh").stat().st_mode) == 0o600
    assert old == {
        "bytes": 3,
        "created": False,
        "sha256_before": hashlib.sha256(b"old").hexdigest(),
        "sha256_after": hashlib.sha256(b"new").hexdigest(),
    }
    assert (new["created"], new["sha256_before"]) == (True, None)


async def test_a_write_changes_no_other_name_of_the_file(shared: Path) -> None:
    (shared / "one").write_text("shared content")
    os.link(shared / "one", shared / "two")

    async with running(shared) as guest:
        await guest.link.call("files.write", {"path": "one"}, body=b"mine")

    assert (shared / "one").read_text() == "mine"
    assert (shared / "two").read_text() == "shared content"


async def test_a_write_that_is_cancelled_leaves_the_old_file_and_nothing_else(shared: Path) -> None:
    (shared / "file").write_text("old")
    first = asyncio.Event()

    async def endless() -> Iterator[bytes]:  # type: ignore[misc]
        while True:
            yield bytes(1000)
            first.set()
            await asyncio.sleep(0.01)

    async with running(shared) as guest:
        writing = asyncio.create_task(guest.link.call("files.write", {"path": "file"}, body=endless()))  # type: ignore[arg-type]
        await first.wait()
        await asyncio.sleep(0.1)
        writing.cancel()
        await asyncio.wait([writing])
        listed = await guest.link.call("files.list", {"path": "."})
        for _ in range(100):
            if listed.result["entries"] == 1:
                break
            await asyncio.sleep(0.02)
            listed = await guest.link.call("files.list", {"path": "."})

    assert names(shared) == ["file"]
    assert (shared / "file").read_text() == "old"


async def test_a_write_beyond_its_limit_leaves_the_old_file(shared: Path) -> None:
    (shared / "file").write_text("old")

    async with running(shared) as guest:
        code = await code_of(guest, "files.write", {"path": "file", "limit_bytes": 10}, bytes(11))
        fits = await code_of(guest, "files.write", {"path": "other", "limit_bytes": 10}, bytes(10))

    assert (code, fits) == ("limit", "done")
    assert (shared / "file").read_text() == "old"


async def test_parents_are_made_only_when_asked_for_and_never_outside(shared: Path) -> None:
    (shared / "out").symlink_to("..")

    async with running(shared) as guest:
        codes = [
            await code_of(guest, "files.write", {"path": "a/b/c"}),
            await code_of(guest, "files.write", {"path": "out/made/c", "create_parents": True}),
            await code_of(guest, "files.write", {"path": "../made/c", "create_parents": True}),
            await code_of(guest, "files.write", {"path": "a/b/c", "create_parents": True}),
        ]

    assert codes == ["not-found", "path", "path", "done"]
    assert names(shared.parent) == ["outside", "shared"]


async def test_a_folder_swapped_for_a_link_all_the_time_is_never_left(shared: Path) -> None:
    """B04: the swap happens as fast as it can while writes and removals go through the name."""
    real, way = shared / "real", shared / "way"
    real.mkdir()
    swapping = True

    def swap() -> None:
        while swapping:
            real.rename(way)
            way.rename(real)
            way.symlink_to("..")
            way.unlink()

    async with running(shared) as guest:
        swapper = asyncio.create_task(asyncio.to_thread(swap))
        outcomes = set()
        for _ in range(1000):
            outcomes.add(await code_of(guest, "files.write", {"path": "way/outside"}, b"stolen"))
            outcomes.add(await code_of(guest, "files.remove", {"path": "way/outside"}))
        swapping = False
        await swapper

    assert (shared.parent / "outside").read_bytes() == SHADOW
    assert outcomes <= {"done", "path", "not-found", "not-folder", "exists"}


async def test_an_operation_that_takes_too_long_is_ended_and_the_next_one_works(shared: Path) -> None:
    (shared / "file").write_text("x")

    async def endless() -> Iterator[bytes]:  # type: ignore[misc]
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    async with running(shared) as guest:
        with pytest.raises(OperationFailedError) as failed:
            await guest.link.call("files.write", {"path": "a", "timeout_seconds": 0.3}, body=endless())  # type: ignore[arg-type]
        read = await guest.link.call("files.read", {"path": "file"})

    assert failed.value.code == "timeout"
    assert read.body == b"x"


async def test_an_unknown_operation_or_argument_is_refused(shared: Path) -> None:
    async with running(shared) as guest:
        codes = [
            await code_of(guest, "files.explode", {"path": "a"}),
            await code_of(guest, "files.read", {"path": "a", "follow": True}),
            await code_of(guest, "files.read", {}),
            await code_of(guest, "files.read", {"path": 5}),
            await code_of(guest, "files.read", {"path": "a", "offset": -1}),
            await code_of(guest, "files.read", {"path": "a", "offset": True}),
            await code_of(guest, "files.read", {"path_base64": "not base64"}),
        ]

    assert codes == ["unknown-op", *["arguments"] * 6]
