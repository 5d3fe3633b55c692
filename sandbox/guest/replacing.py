"""Replace an exact text in a file that is too long to be held: read twice, a block at a time."""

from __future__ import annotations

import os

from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_BYTES = 1 << 20
SHOWN_PLACES = 8


class Found:
    """How often a text is there, and the lines where the first few begin."""

    def __init__(self) -> None:
        self.count = 0
        self.lines: list[int] = []


def looked_for(descriptor: int, old: bytes) -> Found:
    """Count what would be replaced; memory is bounded by a block and by the text that is looked for."""
    found = Found()
    line = 1
    for text, places, used in _blocks(descriptor, old):
        found.count += len(places)
        for place in places[: SHOWN_PLACES - len(found.lines)]:
            found.lines.append(line + text.count(b"\n", 0, place))
        line += text.count(b"\n", 0, used)
    return found


def replaced(descriptor: int, old: bytes, new: bytes, *, count: int) -> Iterator[bytes]:
    """Yield the new content.

    Args:
        descriptor: the file, at its beginning.
        old: what is replaced.
        new: what comes instead.
        count: how often it was there.

    Raises:
        RefusedError: code `busy`, at the end, when the file is no longer the one that was looked at.
    """
    seen = 0
    for text, places, used in _blocks(descriptor, old):
        start = 0
        for place in places:
            yield text[start:place] + new
            start = place + len(old)
        seen += len(places)
        if used > start:
            yield text[start:used]
    if seen != count:
        raise RefusedError("busy", "the file was changed while it was read; nothing was written")


def _blocks(descriptor: int, old: bytes) -> Iterator[tuple[bytes, list[int], int]]:
    """Yield pieces of a file: the text, where `old` begins in it, and how much of it is done with."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    size = max(BLOCK_BYTES, len(old))
    rest = b""
    while block := os.read(descriptor, size):
        text = rest + block
        places, start = [], 0
        while (place := text.find(old, start)) >= 0:
            places.append(place)
            start = place + len(old)
        used = max(start, len(text) - len(old) + 1, 0)
        yield text, places, used
        rest = text[used:]
    if rest:
        yield rest, [], len(rest)
