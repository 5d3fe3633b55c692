"""A copy of a workspace takes no more room than the workspace: a hole of a file is one in its copy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.base import Seen
from sandbox.stage.basecopy import copy_base

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024**2


def copied(folder: Path, name: str) -> Path:
    """Copy one file of a folder as a session that stands on a copy does."""
    entries = {path: Seen.of((folder / path).lstat()) for path in ("", name)}
    target = folder.parent / "copy"
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
