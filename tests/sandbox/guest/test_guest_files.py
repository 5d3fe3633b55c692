"""Files: what each operation does, and that none of them leaves the folder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from sandbox.guest import beneath
from sandbox.guest.beneath import Beneath
from sandbox.guest.refusal import RefusedError
from tests.sandbox.guest.launch import Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.guest.objects import Object

SHADOW = b"not yours"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a folder beside a file that must never be reached from it."""
    (tmp_path / "outside").write_bytes(SHADOW)
    (tmp_path / "outside").chmod(0o666)
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


async def code_of(guest: Running, operation: str, arguments: Object, body: bytes = b"") -> str:
    """Return the code that an operation was refused with, `done` when it was not."""
    try:
        await guest.link.call(operation, arguments, body=body)
    except OperationFailedError as error:
        return error.code
    return "done"


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted."""
    return sorted(entry.name for entry in folder.iterdir())


def leaving(shared: Path) -> list[str]:
    """Lay out ways to leave, and return their paths."""
    (shared / "folder").mkdir()
    (shared / "absolute").symlink_to("/etc/hostname")
    (shared / "up").symlink_to("../outside")
    (shared / "chain").symlink_to("up")
    (shared / "out").symlink_to("..")
    (shared / "magic").symlink_to("/proc/self/root")
    (shared / "loop").symlink_to("loop")
    return [
        "../outside",
        "folder/../../outside",
        "/etc/hostname",
        str(shared / "inside"),
        "absolute",
        "up",
        "chain",
        "out/outside",
        "magic/etc/hostname",
        "loop",
        "./" * 3000 + "x",
        "",
        "a\0b",
    ]


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


async def test_a_listing_is_sorted_bounded_and_follows_no_link(shared: Path) -> None:
    for name in ("b", "a/deep/deeper", "c"):
        (shared / name).mkdir(parents=True)
    (shared / "a" / "deep" / "file").write_text("xyz")
    (shared / "link").symlink_to("a")

    async with running(shared) as guest:
        flat = await guest.link.call("files.list", {"path": "."})
        deep = await guest.link.call("files.list", {"path": ".", "depth": 64})
        cut = await guest.link.call("files.list", {"path": ".", "depth": 64, "limit": 2})

    def paths(body: bytes) -> list[str]:
        return [json.loads(line)["path"] for line in body.splitlines()]

    assert paths(flat.body) == ["a", "b", "c", "link"]
    assert paths(deep.body) == ["a", "a/deep", "a/deep/deeper", "a/deep/file", "b", "c", "link"]
    assert (paths(cut.body), cut.result) == (["a", "a/deep"], {"entries": 2, "truncated": True, "ignored": 0})
    assert json.loads(flat.body.splitlines()[3])["target"] == "a"


async def test_a_name_that_is_not_utf8_comes_back_in_a_form_that_reaches_it(shared: Path) -> None:
    raw = b"caf\xe9\n"
    (shared / os.fsdecode(raw)).write_bytes(b"found")

    async with running(shared) as guest:
        listed = await guest.link.call("files.list", {"path": "."})
        entry = json.loads(listed.body)
        read = await guest.link.call("files.read", {"path_base64": entry["path_base64"]})
        both = await code_of(guest, "files.read", {"path": "x", "path_base64": entry["path_base64"]})

    assert entry["path"] == "caf\\xe9\n"
    assert base64.b64decode(entry["path_base64"]) == raw
    assert (read.body, both) == (b"found", "arguments")


async def test_ten_thousand_entries_are_listed(shared: Path) -> None:
    for number in range(10_000):
        (shared / f"file-with-a-rather-long-name-{number:05}").touch()

    async with running(shared) as guest:
        answer = await guest.link.call("files.list", {"path": ".", "limit": 100_000})

    assert answer.result == {"entries": 10_000, "truncated": False, "ignored": 0}
    assert len(answer.body.splitlines()) == 10_000


async def test_a_move_replaces_only_when_told_to_and_stays_inside(shared: Path) -> None:
    (shared / "one").write_text("1")
    (shared / "two").write_text("2")
    (shared / "out").symlink_to("..")

    async with running(shared) as guest:
        codes = [
            await code_of(guest, "files.move", {"path": "one", "to": "two"}),
            await code_of(guest, "files.move", {"path": "one", "to": "../stolen"}),
            await code_of(guest, "files.move", {"path": "one", "to": "out/stolen"}),
            await code_of(guest, "files.move", {"path": "../outside", "to": "taken"}),
            await code_of(guest, "files.move", {"path": "nothing", "to": "there"}),
            await code_of(guest, "files.move", {"path": "one", "to": "new/three"}),
            await code_of(guest, "files.move", {"path": "one", "to": "two", "replace": True}),
            await code_of(guest, "files.move", {"path": "two", "to": "new/three", "create_parents": True}),
        ]

    assert codes == ["exists", "path", "path", "path", "not-found", "not-found", "done", "done"]
    assert (shared / "new" / "three").read_text() == "1"


async def test_removing_follows_no_link_and_empties_only_when_told_to(shared: Path) -> None:
    precious = shared.parent / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (shared / "full" / "inner").mkdir(parents=True)
    (shared / "full" / "file").touch()
    (shared / "full" / "trap").symlink_to("../../precious")
    (shared / "trap").symlink_to("../precious")

    async with running(shared) as guest:
        codes = [
            await code_of(guest, "files.remove", {"path": "full"}),
            await code_of(guest, "files.remove", {"path": "trap/file"}),
            await code_of(guest, "files.remove", {"path": "."}),
            await code_of(guest, "files.remove", {"path": "full/.."}),
            await code_of(guest, "files.remove", {"path": "trap", "recursive": True}),
        ]
        removed = (await guest.link.call("files.remove", {"path": "full", "recursive": True})).result

    assert codes == ["not-empty", "path", "path", "path", "done"]
    assert removed == {"removed": 4}
    assert names(shared) == []
    assert names(precious) == ["file"]


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


@pytest.fixture(params=["kernel", "walk"])
def resolver(request: pytest.FixtureRequest, shared: Path) -> Iterator[Beneath]:
    """Return both ways of resolving a path: they must agree."""
    made = Beneath(str(shared))
    made._walks = request.param == "walk"
    yield made
    os.close(made.root)


def test_the_walk_and_the_kernel_agree(resolver: Beneath, shared: Path) -> None:
    paths = leaving(shared)
    (shared / "folder" / "file").write_text("here")
    (shared / "folder" / "back").symlink_to("../folder/./file")
    (shared / "inside").symlink_to("folder/back")

    for path in paths:
        with pytest.raises(RefusedError) as refused:
            os.close(resolver.open(path.encode(), os.O_RDONLY))
        assert refused.value.code == "path", path
    for path in ("folder/file", "folder/../folder/file", "inside", "folder/back", "./folder//file"):
        descriptor = resolver.open(path.encode(), os.O_RDONLY)
        assert os.read(descriptor, 10) == b"here"
        os.close(descriptor)
    for path, code in (
        ("nothing", "not-found"),
        ("folder/file/x", "not-folder"),
        ("folder/file/..", "not-folder"),
    ):
        with pytest.raises(RefusedError) as refused:
            os.close(resolver.open(path.encode(), os.O_RDONLY))
        assert refused.value.code == code, path


def test_neither_way_leaks_a_descriptor(resolver: Beneath, shared: Path) -> None:
    leaving(shared)
    (shared / "folder" / "file").touch()
    before = names(Path("/proc/self/fd"))

    for path in (
        b"folder/file",
        b"folder/../folder/file",
        b"chain",
        b"out/outside",
        b"folder/nothing",
        b"folder/..",
    ):
        try:
            os.close(resolver.open(path, os.O_RDONLY))
        except RefusedError:
            continue

    assert names(Path("/proc/self/fd")) == before


def test_messages_show_no_control_characters() -> None:
    assert beneath.shown(b"a\x1b[2J\n\xff\xe2\x80\xae") == "a\\x1b[2J\\n\\xff\\u202e"
