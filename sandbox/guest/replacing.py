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
    for parts in _blocks(descriptor, old):
        found.count += len(parts) - 1
        for part in parts[:-1][: SHOWN_PLACES - len(found.lines)]:
            line += part.count(b"\n")
            found.lines.append(line)
            line += old.count(b"\n")
        line += parts[-1].count(b"\n")
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
    at_once = max(1, BLOCK_BYTES // (len(new) + 1))
    for parts in _blocks(descriptor, old):
        seen += len(parts) - 1
        for first in range(0, len(parts), at_once):
            after = first + at_once
            yield new.join(parts[first:after]) + (new if after < len(parts) else b"")
    if seen != count:
        raise RefusedError("busy", "the file was changed while it was read; nothing was written")


def _blocks(descriptor: int, old: bytes) -> Iterator[list[bytes]]:
    """Yield pieces of a file, each as the texts between which `old` stands in it."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    size = max(BLOCK_BYTES, len(old))
    rest = b""
    while block := os.read(descriptor, size):
        parts = (rest + block).split(old)
        done = max(len(parts[-1]) - len(old) + 1, 0)
        parts[-1], rest = parts[-1][:done], parts[-1][done:]  # which may begin what the next block ends
        yield parts
    if rest:
        yield [rest]
