"""A workspace that is hostile to whoever lists and searches it: answers, and nothing left out in silence."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.cli_tools.door import open_door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
ODD_NAMES = [
    b"new\nline", b"\x1b[31mred", b"\xff\xfe", b"\xed\xa0\x80", "\u202eevil".encode(), b"-rf", b"n" * 255,
    b"back\\slash", b"'quote\"", b"<|im_start|>", "\u27e61b\u27e7".encode(),
]  # fmt: skip


async def test_what_a_search_did_not_read_is_counted_and_told(place: Path) -> None:
    """No match in what was not searched is not `no match`."""
    work = place / "workspace"
    (work / "utf16").write_bytes("found\n".encode("utf-16"))
    (work / "long").write_bytes(b"x" * (3 * MIB) + b"found\n")
    (work / "plain").write_text("found\n")

    async with open_door(place) as door:
        seen = await door.line("files search found")

    found, note = seen.text.splitlines()
    assert found == "plain:1: found"
    assert note.split("; ") == [
        "note: 1 matches in 2 files",
        "not searched: 1 binary files",
        "not searched: 1 lines behind their first MiB",
    ]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
async def test_a_name_as_it_is_listed_is_taken_by_every_command(place: Path, name: bytes) -> None:
    """Read, searched, written, moved and removed by the name that a model was shown."""
    work = place / "workspace"
    (work / os.fsdecode(name)).write_text("found\n")

    async with open_door(place) as door:
        (shown,) = (await door.tool("files_list")).text.splitlines()
        spelled = shown.removesuffix("  6")
        read = await door.tool("files_read", path=spelled)
        found = await door.tool("files_search", pattern="found", path=spelled)
        patched = await door.tool("files_patch", path=spelled, old="found", new="changed")
        moved = await door.tool("files_move", path=spelled, to=f"folder/{spelled}")
        removed = await door.tool("files_remove", path=f"folder/{spelled}")

    assert "\x1b" not in shown
    assert read.text == "     1  found"
    assert found.text.startswith(f"{spelled}:1: found")
    assert [answer.kind for answer in (patched, moved, removed)] == ["done"] * 3
    assert [entry.name for entry in work.iterdir()] == ["folder"]


async def test_what_is_no_file_is_named_and_never_opened(place: Path) -> None:
    work = place / "workspace"
    os.mkfifo(work / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(work / "socket"))
    (work / "outside").symlink_to("/etc/passwd")
    (work / "circle").symlink_to("circle")
    (work / "plain").write_text("found\n")

    async with open_door(place) as door:
        listed = await door.line("files list")
        found = await door.line("files search '.'")
        refused = [await door.line(f"files read {name}") for name in ("pipe", "socket", "outside", "circle")]

    assert listed.text.splitlines() == [
        "circle -> circle", "outside -> /etc/passwd", "pipe  (special)", "plain  6", "socket  (special)",
    ]  # fmt: skip
    assert found.text == "plain:1: found\nnote: 1 matches in 1 files"
    assert [answer.code for answer in refused] == ["special", "special", "path", "path"]


async def test_a_sparse_file_of_a_terabyte_is_described_and_passed_over(place: Path) -> None:
    work = place / "workspace"
    with (work / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    async with open_door(place) as door:
        read = await door.line("files read sparse")
        found = await door.line("files search a")

    assert read.text == f"note: a binary file of {1 << 40} bytes, not shown"
    assert found.text.startswith("note: 0 matches in 0 files; not searched: 1 binary files")


async def test_a_search_goes_on_where_entries_are_swapped_under_it(place: Path) -> None:
    """Files become links and folders while it looks: the rest is found, and no link is read through."""
    work = place / "workspace"
    (work / "z").write_text("found\n")
    secret = place / "secret"
    secret.write_text("found outside\n")
    for number in range(300):
        (work / f"s{number:03}").mkdir()
        (work / f"s{number:03}" / "f").write_text("other\n")
    async with open_door(place) as door:
        with _swapping(work, secret), _swapping(work, secret):
            answers = [await door.line("files search found") for _ in range(8)]

    assert all(answer.text.startswith("z:1: found\n") for answer in answers)
    assert not any("outside" in answer.text for answer in answers)


class _swapping:  # noqa: N801 (a context)
    """Swap folders for links to a secret and back, until it is left."""

    def __init__(self, work: Path, secret: Path) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._swap, args=(work, secret))

    def _swap(self, work: Path, secret: Path) -> None:
        for number in self._numbers():
            name = work / f"s{number:03}"
            link = work / f".{threading.get_ident()}"
            try:
                link.symlink_to(secret)
                os.rename(name, f"{name}x")  # noqa: PTH104 (either may be gone)
                os.rename(link, name)  # noqa: PTH104 (the same)
                os.unlink(name)  # noqa: PTH108 (the same)
                os.rename(f"{name}x", name)  # noqa: PTH104 (the same)
            except OSError:
                link.unlink(missing_ok=True)

    def _numbers(self) -> Iterator[int]:
        while not self._ended.is_set():
            yield from range(300)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
