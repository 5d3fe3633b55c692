"""Replacing in a long file, a block at a time, is replacing in the whole of it."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import replacing
from sandbox.guest.refusal import RefusedError

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
