"""Replacing in a long file, a block at a time, is replacing in the whole of it."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import frames, patch, replacing
from sandbox.guest.beneath import Beneath
from sandbox.guest.objects import encode_object
from sandbox.guest.refusal import RefusedError
from sandbox.guest.task import Channel, next_task

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.guest.objects import Object

TEXT = st.text("ab\n", max_size=60).map(str.encode)
OLD = st.text("ab\n", min_size=1, max_size=5).map(str.encode)


@given(
    content=TEXT,
    old=OLD,
    new=TEXT,
    block=st.integers(1, 9),
)
def test_block_by_block_is_the_same_as_at_once(content: bytes, old: bytes, new: bytes, block: int) -> None:
    """Matches across blocks, overlapping or one after another are found as `bytes.replace` finds them."""
    before = replacing.BLOCK_BYTES
    replacing.BLOCK_BYTES = block
    try:
        with tempfile.TemporaryFile() as stream:
            stream.write(content)
            stream.flush()
            found = replacing.looked_for(stream.fileno(), old)
            made = b"".join(replacing.replaced(stream.fileno(), old, new, count=found.count))
    finally:
        replacing.BLOCK_BYTES = before

    assert found.count == content.count(old)
    assert made == content.replace(old, new)
    assert found.lines == _lines(content, old)[: replacing.SHOWN_PLACES]


def _lines(content: bytes, old: bytes) -> list[int]:
    lines, place = [], 0
    while (place := content.find(old, place)) >= 0:
        lines.append(1 + content.count(b"\n", 0, place))
        place += len(old)
    return lines


def test_a_file_that_changes_between_the_two_readings_is_refused() -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write(b"a b a")
        stream.flush()
        found = replacing.looked_for(stream.fileno(), b"a")
        os.ftruncate(stream.fileno(), 2)

        with pytest.raises(RefusedError) as caught:
            list(replacing.replaced(stream.fileno(), b"a", b"c", count=found.count))

    assert caught.value.code == "busy"


@pytest.mark.parametrize("many", [b"", b"n" * 3000], ids=["nothing", "long"])
def test_however_many_matches_a_block_has_what_is_handed_on_is_about_a_block(
    many: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a piece for each match nor, where the new text is long, all of them at once."""
    monkeypatch.setattr(replacing, "BLOCK_BYTES", 10_000)
    with tempfile.TemporaryFile() as stream:
        stream.write(b"ab" * 10_000)
        stream.flush()
        pieces = list(replacing.replaced(stream.fileno(), b"a", many, count=10_000))

    assert b"".join(pieces) == (many + b"b") * 10_000
    assert max(map(len, pieces)) <= 20_000
    assert len(pieces) <= 2 + len(b"".join(pieces)) // 5_000


def replaced_in(folder: Path, *after: int) -> Object:
    """Replace `x` by `y` in `folder/long`; these frames have come from PID 1 when it begins."""
    ours, theirs = socket.socketpair()
    request: Object = {"op": "files.patch", "path": "long", "form": "replace", "old_bytes": 1}
    with ours, theirs:
        ours.send(frames.encode(frames.OPEN, 1, encode_object(request)))
        ours.send(frames.encode(frames.BODY, 1, b"xy"))
        for kind in (frames.END, *after):
            ours.send(frames.encode(kind, 1, b""))
        beneath = Beneath(str(folder))
        try:
            return patch.patch(next_task(Channel(theirs)), beneath)
        finally:
            os.close(beneath.root)


def test_replacing_in_a_long_file_is_cancelled_in_the_midst_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the worker is killed in its midst, and what it wrote so far stays in the workspace."""
    monkeypatch.setattr(patch, "MAX_FILE_BYTES", 1000)
    (tmp_path / "long").write_bytes(bytes(5000) + b"x")

    with pytest.raises(RefusedError) as caught:
        replaced_in(tmp_path, frames.CANCEL)
    left = [path.name for path in tmp_path.iterdir()]
    kept = (tmp_path / "long").read_bytes()
    twin = replaced_in(tmp_path)

    assert (caught.value.code, left) == ("cancelled", ["long"])
    assert (kept[-1:], (tmp_path / "long").read_bytes()) == (b"x", bytes(5000) + b"y")
    assert twin["replaced"] == 1
