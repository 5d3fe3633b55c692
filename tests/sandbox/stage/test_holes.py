"""A copy of a workspace holds what the workspace does, and takes no more room: a hole is one in the copy."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.base import Seen
from sandbox.stage.basecopy import copy_base
from sandbox.stage.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024**2


def copied(folder: Path, name: str, target: Path | None = None) -> Path:
    """Copy one file of a folder as a session that stands on a copy does."""
    entries = {path: Seen.of((folder / path).lstat()) for path in ("", name)}
    target = target or folder.parent / "copy"
    copy_base(folder, target, entries, uid=os.getuid(), gid=os.getgid())
    return target / name


@pytest.mark.parametrize(
    ("pieces", "size"),
    [
        ({}, 0),
        ({0: b"x"}, 1),
        ({}, 512 * MIB),
        ({0: b"begin", 300 * MIB: b"middle", 512 * MIB - 3: b"end"}, 512 * MIB),
        ({5 * MIB: b"x" * 3 * MIB}, 300 * MIB),
        ({0: os.urandom(3 * MIB + 1)}, 3 * MIB + 1),
    ],
)
def test_a_file_with_holes_is_copied_byte_for_byte_and_fills_no_disk(
    tmp_path: Path, pieces: dict[int, bytes], size: int
) -> None:
    """Somebody's archive, or an agent, makes one of a petabyte in a moment."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    with (folder / "disk.img").open("wb") as out:
        for place, piece in pieces.items():
            out.seek(place)
            out.write(piece)
        out.truncate(size)

    copy = copied(folder, "disk.img")

    assert copy.stat().st_size == size
    assert copy.stat().st_blocks * 512 <= sum(map(len, pieces.values())) + len(pieces) * MIB
    with copy.open("rb") as read:
        for place, piece in pieces.items():
            read.seek(place)
            assert read.read(len(piece)) == piece
        read.seek(size // 2)
        with (folder / "disk.img").open("rb") as before:
            before.seek(size // 2)
            assert read.read(MIB) == before.read(MIB)


def test_a_file_of_a_petabyte_without_content_is_copied_at_once(tmp_path: Path) -> None:
    """The largest that this filesystem takes, for ext4 takes 16 TiB."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    with (folder / "disk.img").open("wb") as out:
        for size in (2**50, 2**43, 2**40):
            try:
                out.truncate(size)
            except OSError:
                continue
            break

    assert copied(folder, "disk.img").stat().st_blocks == 0


def of_two_mib(path: Path) -> None:
    path.write_bytes(os.urandom(2 * MIB))


def with_a_hole_behind(path: Path) -> None:
    of_two_mib(path)
    os.truncate(path, 8 * MIB)


@pytest.mark.parametrize("make", [of_two_mib, with_a_hole_behind])
@pytest.mark.parametrize("kept", [0, 5, MIB, MIB + 5, 2 * MIB - 1])
def test_a_file_that_is_shortened_while_it_is_copied_has_no_tail_of_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], kept: int
) -> None:
    """It would pass for what the user had."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    make(folder / "log")
    read = os.read

    def read_and_shorten(descriptor: int, count: int) -> bytes:
        piece = read(descriptor, count)
        os.truncate(folder / "log", kept)
        return piece

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read_and_shorten)
        copy = copied(folder, "log")

    assert copy.read_bytes() == (folder / "log").read_bytes()


@pytest.mark.parametrize("path", ["/proc/sys/kernel/ostype", "/sys/kernel/fscaps"])
def test_a_file_whose_size_is_not_what_it_holds_is_copied_to_its_end(tmp_path: Path, path: str) -> None:
    """A filesystem may say 0, or a page: its content is made when it is read."""
    file = Path(path)

    copy = copied(file.parent, file.name, tmp_path / "copy")

    assert copy.read_bytes() == file.read_bytes() != b""


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_is_copied_whole_where_the_filesystem_tells_nothing_of_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder = tmp_path / "workspace"
    folder.mkdir()
    of_two_mib(folder / "a")
    seek = os.lseek

    def tell_nothing(descriptor: int, place: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(code, os.strerror(code))
        return seek(descriptor, place, whence)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lseek", tell_nothing)
        copy = copied(folder, "a")

    assert copy.read_bytes() == (folder / "a").read_bytes()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """What is read has no name of its own: this process' memory, of which the first page is nobody's."""
    with pytest.raises(StageError, match="cannot be copied: input/output error: `mem`"):
        copied(Path(f"/proc/{os.getpid()}"), "mem", tmp_path / "copy")
