"""Folders: listing, moving and removing what is in them, bounded and never outside."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

from tests.sandbox.guest.launch import running
from tests.sandbox.guest.shared_folder import code_of, names

if TYPE_CHECKING:
    from pathlib import Path


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
