"""Apply a diff to a file that is too long to be held: each hunk at the line that it names, or nowhere.

The file is read a block at a time: for its line ends, up to the first that is not CR LF; to see that every
hunk fits; and to write. Memory is bounded by a block and by the diff.
"""

from __future__ import annotations

import os

from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .hunks import Diff, Hunk

BLOCK_BYTES = 1 << 20
_NEWLINE = b"\n"


class Place:
    """Where one hunk goes.

    Args:
        start: the byte of the file at which its old text begins.
        old: its old text, whole.
        new: what comes instead.
    """

    def __init__(self, start: int, old: bytes, new: bytes) -> None:
        self.start = start
        self.old = old
        self.new = new

    @property
    def end(self) -> int:
        """Return the byte behind its old text."""
        return self.start + len(self.old)


def placed(descriptor: int, diff: Diff) -> list[Place]:
    """Find the place of each hunk.

    Raises:
        RefusedError: code `no-match`, when one does not fit where it says; `diff`, when they are in disorder.
    """
    places: list[Place] = []
    lines = _Lines(descriptor)
    diff.end_lines_as_in(_ends_with_returns(descriptor))
    for hunk in diff.hunks:
        old, new = b"".join(hunk.old), b"".join(hunk.new)
        lines.go_to(max(hunk.start, 1) if old else hunk.start + 1, hunk)
        place = Place(lines.offset, old, new)
        if places and place.start < places[-1].end:
            raise RefusedError("diff", f"hunk {hunk.number} begins within the one before it")
        _require_fit(descriptor, place, hunk)
        # Only the last line of all may have no newline: what comes behind another is glued to it.
        if place.new and places and places[-1].new and not places[-1].new.endswith(_NEWLINE):
            raise _glued(hunk)
        places.append(place)
    return places


def changed(descriptor: int, places: list[Place]) -> Iterator[bytes]:
    """Yield the new content.

    Args:
        descriptor: the file.
        places: of the hunks, in order.

    Raises:
        RefusedError: code `busy`, when the file is no longer the one that was looked at.
    """
    done = 0
    for place in places:
        yield from _between(descriptor, done, place.start)
        if _at(descriptor, place.start, len(place.old)) != place.old:
            raise _moved()
        yield place.new
        done = place.end
    yield from _between(descriptor, done, None)


class _Lines:
    """Go from line to line, forward only.

    Args:
        descriptor: the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._line = 1
        self.offset = 0
        """The byte at which the line begins."""

    def go_to(self, line: int, hunk: Hunk) -> None:
        """Go to the beginning of a line; the one behind the last line is the end of the file."""
        if line < self._line:
            raise RefusedError("diff", f"hunk {hunk.number} stands before an earlier hunk")
        while self._line < line:
            block = os.pread(self._descriptor, BLOCK_BYTES, self.offset)
            if not block:
                told = f"hunk {hunk.number} is of line {line}; the file has {self._line} lines or fewer"
                raise RefusedError("no-match", told)
            self._pass(block, line - self._line)

    def _pass(self, block: bytes, wanted: int) -> None:
        """Pass so many line ends of a block, or all that it has."""
        count = block.count(_NEWLINE)
        if count < wanted:
            self._line += count
            self.offset += len(block)
            return
        at = -1
        for _ in range(wanted):
            at = block.index(_NEWLINE, at + 1)
        self._line += wanted
        self.offset += at + 1


def _require_fit(descriptor: int, place: Place, hunk: Hunk) -> None:
    if _at(descriptor, place.start, len(place.old)) != place.old:
        told = f"hunk {hunk.number} does not fit at line {hunk.start}; in so long a file it has to fit there"
        raise RefusedError("no-match", told)
    is_last = not _at(descriptor, place.end, 1)
    if not is_last and not all(text.endswith(_NEWLINE) for text in (place.old, place.new) if text):
        told = f"hunk {hunk.number} has a line without newline, and the file goes on behind it"
        raise RefusedError("no-match", told)
    before = _at(descriptor, place.start - 1, 1) if place.start else _NEWLINE
    if place.new and before != _NEWLINE:
        raise _glued(hunk)


def _glued(hunk: Hunk) -> RefusedError:
    return RefusedError("no-match", f"hunk {hunk.number} puts lines after one that has no newline")


def _ends_with_returns(descriptor: int) -> bool:
    """Say whether every line ends with CR LF, as `hunks.ends_with_returns` does of content."""
    start, last, found = 0, b"", False
    while block := os.pread(descriptor, BLOCK_BYTES, start):
        ends = block.count(_NEWLINE)
        if ends != block.count(b"\r\n") + (last + block[:1] == b"\r\n"):
            return False
        start, last, found = start + len(block), block[-1:], found or ends > 0
    return found


def _between(descriptor: int, start: int, end: int | None) -> Iterator[bytes]:
    """Yield the bytes from a place on; up to another, or to the end of the file."""
    while end is None or start < end:
        block = os.pread(descriptor, BLOCK_BYTES if end is None else min(BLOCK_BYTES, end - start), start)
        if not block:
            if end is None:
                return
            raise _moved()
        start += len(block)
        yield block


def _at(descriptor: int, start: int, count: int) -> bytes:
    """Return so many bytes; fewer where the file ends."""
    parts: list[bytes] = []
    while count and (part := os.pread(descriptor, count, start)):
        parts.append(part)
        start += len(part)
        count -= len(part)
    return b"".join(parts)


def _moved() -> RefusedError:
    return RefusedError("busy", "the file was changed while it was read; nothing was written")
