"""Skim a session's lines: the chain and every seal, but neither the tree nor the spelling.

For reading, not judging: what is handed on is to be read strictly by whoever takes it.
"""

from binascii import hexlify
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice, repeat

import orjson

from audit.chain import Chain
from audit.note import Checkpoint, VerifierKey
from audit.spelling import ACTING
from audit.walk import BEHIND_THE_END, Bound, BrokenWalkError, Walk

Seen = tuple[int, bytes, bytes]
"""A line that was seen to follow: its place, the line, its leaf."""
_AT_ONCE = 512
_LONGEST_MOVED = 1024  # bytes of a line whose body was moved out: it holds a commitment and no more
_TYPE = b'"type":"'
_TYPE_BEHIND, _TYPE_BEFORE = 100, 180  # where a line that a writer wrote says its type
_MARKERS = (b'"type":"log.', b'"type":"session.recovered')
_BANG = ord("!")
_IS_MARKED = b'{"!":'
_IS_MOVED_OUT = b'"body":{"overflow":{'
_BEGINNING = b'{"seq":%d,"prev":"%b",'


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a skim stands.

    Attributes:
        size: Lines so far.
        head: The leaf of the last, or what the first has to name.
        epoch: The key's epoch; 0 before the first line.
        sealed: Lines up to the last seal.
        agreed: Lines up to the last that the host's log knows.
    """

    size: int
    head: bytes
    epoch: int
    sealed: int
    agreed: int


class Skim(Walk):
    """A walk for reading, not judging: the chain and every seal, but neither the tree nor the spelling.

    A seal signs the leaf of the last line, and that leaf stands for everything before it; what is handed on
    is to be read strictly by whoever takes it.

    Args:
        bound: What is known from outside.
        chain: Where to begin.
        heads: Size to leaf, as the host's log knows them.
        epoch: The key's epoch there.
    """

    def __init__(self, bound: Bound, chain: Chain, *, heads: Mapping[int, bytes], epoch: int = 0) -> None:
        super().__init__(bound, chain, epoch=epoch, collect=False)
        self.size = chain.size
        self._heads = heads
        self._head = chain.head

    def standing(self) -> Standing:
        """Return where the skim stands."""
        return Standing(self.size, self._head, self.epoch, self.sealed_size, self._agreed_size)

    def claimed(self, size: int, head: bytes, epoch: int) -> Standing:
        """Return where a skim stands that comes by there, just behind a seal, if all is well."""
        agreed = max((known for known in self._heads if known <= size), default=self._agreed_size)
        return Standing(size, head, epoch, size, agreed)

    def go_on_from(self, standing: Standing) -> None:
        """Go on from elsewhere: what lies before is for another skim to look at."""
        self.size, self._head, self.epoch = standing.size, standing.head, standing.epoch
        self.sealed_size, self._agreed_size = standing.sealed, standing.agreed
        vkey = self.bound.vkeys.get(standing.epoch)
        self._vkey = VerifierKey.parse(vkey) if vkey is not None else None

    def skim(self, lines: Sequence[bytes], wanted: Sequence[bytes], *, kind: bytes = b"") -> Iterator[Seen]:
        """Take the next lines, and yield those that hold every wanted piece, or could.

        Args:
            lines: Raw lines.
            wanted: Pieces of bytes that a line must hold to be of interest, unless it holds a mark.
            kind: How the line's type is spelled, where only one is of interest.

        Raises:
            BrokenWalkError: At the first line that does not hold.
        """
        for start in range(0, len(lines), _AT_ONCE):
            yield from self._skim(lines[start : start + _AT_ONCE], wanted, kind)

    def _skim(self, lines: Sequence[bytes], wanted: Sequence[bytes], kind: bytes) -> Iterator[Seen]:
        """Take a row of lines: hashed all at once, looked at one by one where there is something to do."""
        first, leaves = self.size, [sha256(b"\x00" + line).digest() for line in lines]
        before, types = [self._head, *leaves], _types_of(lines)
        seen = zip(range(first, first + len(lines)), lines, leaves, types, strict=True)
        done = 0
        for stop in self._stops(lines, before, types):
            yield from _wanted(islice(seen, stop - done), wanted, kind)
            self.size, self._head, done = first + stop, before[stop], stop
            self._take(lines[stop], leaves[stop], types[stop])
        yield from _wanted(seen, wanted, kind)
        self.size, self._head = first + len(lines), before[-1]

    def _stops(self, lines: Sequence[bytes], before: Sequence[bytes], types: Sequence[int]) -> list[int]:
        """Return the places in a row where a line does not follow, is a marker, or is the host's to know."""
        first, heads, last = self.size, self._heads, self.bound.last_size()
        numbers = range(first, first + len(lines))
        beginnings = map(_BEGINNING.__mod__, zip(numbers, map(hexlify, before), strict=False))
        follow = list(map(bytes.startswith, lines, beginnings))
        marks = map(bytes.startswith, lines, repeat(_MARKERS), types)
        found = {place for place, is_marker in enumerate(marks) if is_marker}
        found.update(seq - first for seq in numbers if seq + 1 in heads)
        found.update(range(max(0, last - first), len(lines)))
        if not all(follow):
            found.add(follow.index(False))
        return sorted(found)

    def _take(self, line: bytes, leaf: bytes, type_at: int) -> None:
        """Take one line, held against everything."""
        seq = self.size
        if seq >= self.bound.last_size():
            raise BrokenWalkError(seq, seq, BEHIND_THE_END)
        if not line.startswith(_BEGINNING % (seq, hexlify(self._head))):
            raise self._unlinked(line, seq)
        if line.startswith(_MARKERS, type_at):
            self._take_marker(line, seq)
        self.size, self._head = seq + 1, leaf
        if self.size in self._heads:
            self._hold_to_host(self._heads[self.size] == leaf, self.size)

    def _take_marker(self, line: bytes, seq: int) -> None:
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise BrokenWalkError(seq, seq, "it is not JSON") from None
        kind = fields.get("type")
        if not isinstance(kind, str):
            raise BrokenWalkError(seq, seq, "its type is no text")
        if kind in ACTING:
            self._take_special(kind, fields.get("body"), seq)

    def _is_signed(self, found: Checkpoint, seq: int) -> bool:
        claimed = (found.origin, found.size, found.extension("head"))
        return claimed == (self.bound.origin, seq, self._head.hex())


def marker_in(line: bytes) -> bytes | None:
    """Return a line that is a seal, or begins an epoch; None for any other."""
    return line if line.startswith(_MARKERS, _types_of([line])[0]) else None


def _types_of(lines: Sequence[bytes]) -> list[int]:
    """Return where each line says its type.

    No time of ours has so many digits that it is not where it is first looked for; whoever wrote such a line
    hides nothing by it.
    """
    found = [line.find(_TYPE, _TYPE_BEHIND, _TYPE_BEFORE) for line in lines]
    if -1 in found:
        return [line.find(_TYPE) if place < 0 else place for line, place in zip(lines, found, strict=True)]
    return found


def _wanted(
    lines: Iterable[tuple[int, bytes, bytes, int]], wanted: Sequence[bytes], kind: bytes
) -> Iterator[Seen]:
    """Yield the lines of a type that could hold every wanted piece."""
    for seq, line, leaf, type_at in lines:
        if line.startswith(kind, type_at) and _may_hold(line, wanted):
            yield seq, line, leaf


def _may_hold(line: bytes, wanted: Sequence[bytes]) -> bool:
    """Tell whether a line holds every piece, or keeps text where a piece of bytes does not find it."""
    for piece in wanted:
        if piece not in line:
            if _BANG in line and _IS_MARKED in line:  # most lines have none: one character is found fastest
                return True
            return len(line) <= _LONGEST_MOVED and line.endswith(b"}}}") and _IS_MOVED_OUT in line
    return True
