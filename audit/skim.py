"""Skim a session's lines: the chain and every seal, but neither the tree nor the spelling.

For reading, not judging: what is handed on is to be read strictly by whoever takes it.
"""

from binascii import hexlify
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import orjson

from audit.bound import Bound
from audit.chain import Chain, leaf_hashes
from audit.errors import AuditError
from audit.note import Checkpoint, VerifierKey, open_note, unverified_checkpoint
from audit.sift import could_hold, types_of
from audit.spelling import ACTING
from audit.walk import BEGINNING, BrokenWalkError, Walk

Seen = tuple[int, bytes, bytes]
"""A line that was seen to follow: its place, the line, its leaf."""
_AT_ONCE = 2048
_MARKERS = (b'"type":"log.', b'"type":"session.recovered')


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

    A seal signs the leaf of the last line, and that leaf stands for everything before it, earlier seals and
    their signatures too: of a row of lines it is enough to check the last signature of each epoch. Where
    anything is amiss, the row is taken again with each in its turn.

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
        self._each = False
        self._unopened = ""

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

    def _size(self) -> int:
        """Return how many lines were taken: a skim's tree takes none."""
        return self.size

    def skim(self, lines: Sequence[bytes], wanted: Sequence[bytes], *, kind: bytes = b"") -> Iterator[Seen]:
        """Take the next lines, and yield those that hold every wanted piece, or could.

        Args:
            lines: Raw lines.
            wanted: Pieces of bytes, none with a newline, that a line must hold to be of interest, unless it
                keeps text otherwise.
            kind: How the line's type is spelled, where only one is of interest.

        Raises:
            BrokenWalkError: At the first line that does not hold.
        """
        for start in range(0, len(lines), _AT_ONCE):
            yield from self._skim(lines[start : start + _AT_ONCE], wanted, kind)

    def _skim(self, lines: Sequence[bytes], wanted: Sequence[bytes], kind: bytes) -> Iterator[Seen]:
        """Take a row of lines, then yield what is wanted of those that hold."""
        leaves, types = leaf_hashes(lines), types_of(lines)
        first, problem = self.size, self._problem(lines, leaves, types)
        for place in could_hold(lines[: self.size - first], types[: self.size - first], wanted, kind):
            yield first + place, lines[place], leaves[place]
        if problem is not None:
            raise problem

    def _problem(
        self, lines: Sequence[bytes], leaves: Sequence[bytes], types: Sequence[bytes]
    ) -> BrokenWalkError | None:
        """Take a row of lines, as far as they hold; return why they do not any further."""
        standing, vkey = self.standing(), self._vkey
        try:
            self._take_row(lines, leaves, types)
            self._open_last()
        except BrokenWalkError:
            self.go_on_from(standing)
            self._vkey, self._unopened, self._each = vkey, "", True
        else:
            return None
        try:
            self._take_row(lines, leaves, types)
        except BrokenWalkError as error:
            return error
        finally:
            self._each = False
        return None

    def _take_row(self, lines: Sequence[bytes], leaves: Sequence[bytes], types: Sequence[bytes]) -> None:
        """Take lines whose leaves are known, one by one only where there is something to do."""
        first, before = self.size, [self._head, *leaves]
        for stop in self._stops(lines, before, types):
            self.size, self._head = first + stop, before[stop]
            self._take(lines[stop], leaves[stop], types[stop])
        self.size, self._head = first + len(lines), before[-1]

    def _stops(self, lines: Sequence[bytes], before: Sequence[bytes], types: Sequence[bytes]) -> list[int]:
        """Return the places in a row where a line does not follow, is a marker, or is the host's to know."""
        first, last = self.size, self.bound.last_size()
        numbers = range(first, first + len(lines))
        markers = {kind for kind in set(types) if kind.startswith(_MARKERS)}
        found = {place for place, kind in enumerate(types) if kind in markers} if markers else set()
        found.update(seq - first for seq in numbers if seq + 1 in self._heads)
        found.update(range(max(0, last - first), len(lines)))
        odd = _first_odd(lines, numbers, hexlify(b"".join(before[:-1]), b",", len(self._head)))
        if odd is not None:
            found.add(odd)
        return sorted(found)

    def _take(self, line: bytes, leaf: bytes, kind: bytes) -> None:
        """Take one line, held against everything."""
        seq = self.size
        if seq >= self.bound.last_size():
            raise self.behind_the_end()
        if not line.startswith(BEGINNING % (seq, hexlify(self._head))):
            raise self._unlinked(line, seq)
        if kind.startswith(_MARKERS):
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

    def _begin_epoch(self, session: str, epoch: int, vkey: str, seq: int) -> None:
        self._open_last()
        super()._begin_epoch(session, epoch, vkey, seq)

    def _take_seal(self, epoch: int, note: str, seq: int) -> None:
        if self._each or epoch != self.epoch or not self._says_so(note, seq):
            super()._take_seal(epoch, note, seq)
        else:
            self.sealed_size, self._unopened = seq + 1, note

    def _says_so(self, note: str, seq: int) -> bool:
        """Tell whether a seal is of what stands before it, whoever signed it."""
        try:
            return self._is_signed(unverified_checkpoint(note), seq)
        except AuditError:
            return False

    def _open_last(self) -> None:
        """Check the last signature that waits to be.

        Raises:
            BrokenWalkError: When it is not the epoch's key's.
        """
        if not self._unopened:
            return
        if self._vkey is None:
            raise BrokenWalkError(self.size, self.size, "no key is known")
        try:
            open_note(self._unopened, self._vkey)
        except AuditError as error:
            raise BrokenWalkError(self.size, self.size, str(error)) from error
        self._unopened = ""

    def _is_signed(self, found: Checkpoint, seq: int) -> bool:
        claimed = (found.origin, found.size, found.extension("head"))
        return claimed == (self.bound.origin, seq, self._head.hex())


def _first_odd(lines: Sequence[bytes], numbers: Sequence[int], heads: bytes) -> int | None:
    """Return the first place in a row whose line does not begin with its number and the leaf before it.

    Args:
        lines: Raw lines.
        numbers: The place that each must name.
        heads: The leaf that each must name, with commas between.
    """
    if _all_follow(lines, numbers, heads):
        return None
    pairs = zip(numbers, heads.split(b","), strict=True)
    follow = list(map(bytes.startswith, lines, map(BEGINNING.__mod__, pairs)))
    return None if all(follow) else follow.index(False)


def _all_follow(lines: Sequence[bytes], numbers: Sequence[int], heads: bytes) -> bool:
    """Tell whether lines surely follow: column by column, where all numbers have as many digits."""
    if not lines or len(str(numbers[0])) != len(str(numbers[-1])):
        return False
    before, _, behind = BEGINNING.partition(b"%b")
    start = len(before % numbers[0])
    end = start + len(heads) // len(lines)
    columns = [
        map(itemgetter(slice(*ends)), lines) for ends in ((start,), (start, end), (end, end + len(behind)))
    ]
    first, middle, last = columns
    return (
        b"".join(first) == before * len(lines) % tuple(numbers)
        and b",".join(middle) == heads
        and set(last) == {behind}
    )


def marker_in(line: bytes) -> bytes | None:
    """Return a line that is a seal, or begins an epoch; None for any other."""
    return line if types_of([line])[0].startswith(_MARKERS) else None
