"""Verify a large log's files ahead in several processes, what each says being held against the walk in order.

A process looks at what a line has to show by itself: that it follows the one before, how it is spelled, its
leaf, what it commits to. The tree, the seals' signatures and what the host's log knows are left to the walk.
INVARIANT: what a process says counts only where its file was seen to begin where the walk stood, and only as
far as the walk holds; from a file of which anything is odd on, the walk reads for itself.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sys import getsizeof

from audit.apart import Apart, helpers
from audit.bound import Bound
from audit.chain import Chain
from audit.digests import Digests
from audit.errors import AuditError, LostHelperError
from audit.merkle import Frontier
from audit.sealed import SEGMENT_BYTES
from audit.segments import Lines, opened
from audit.walk import AT_ONCE, BrokenWalkError, Deed, Walk

LARGE_BYTES = 32 * 1024 * 1024
"""A log of more, in several files, is looked at by several processes: to start them takes some 50 ms."""
_LARGEST_FILE = 3 * SEGMENT_BYTES // 2
"""More than a writer puts into a file: it begins another once it is past the segment's size."""
_MOST_ROOM_BYTES = 128 * 1024 * 1024
"""What a process keeps of a file until its end: it comes to 110 MiB where every other line is a seal."""
_LEAF_ROOM_BYTES, _DIGEST_ROOM_BYTES, _DEED_ROOM_BYTES = 88, 128, 400
_LOOKED_AT = ("session", "epoch", "vkey", "note")
"""What a walk asks of a deed."""
_BEGINNING = re.compile(rb'\{"seq":([0-9]{1,15}),"prev":"([0-9a-f]{64})",')
_BEGINNING_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What some lines have to show by themselves.

    Attributes:
        leaves: Theirs, in order.
        deeds: What those of them say that change what the lines behind are held against.
        last_kind: The type of the last but for seals; empty where there is none.
        commitments: What they commit to.
        moved: Those of bodies that were moved out.
        proofs: Those of which a salt only may be kept.
    """

    leaves: Sequence[bytes]
    deeds: Sequence[Deed]
    last_kind: str
    commitments: Sequence[str]
    moved: Sequence[str]
    proofs: Sequence[str]


Said = tuple[int, bytes] | Looked
"""Where a file claims to begin, its place and predecessor; then what its lines have to show."""


def ahead(walk: Walk, paths: Sequence[Path], *, processes: int | None = None) -> tuple[Walk, int]:
    """Take as many of a log's files as processes help with; return the walk behind them, and how many.

    The last file is never among them: it may be growing, and its last line be torn.

    Args:
        walk: Where to begin.
        paths: The log's files, oldest first.
        processes: How many may help; None for one for each core, if the log is large.
    """
    if processes is None:
        processes = helpers() if _are_large(paths) else 1
    if processes <= 1 or len(paths) <= 1:
        return walk, 0
    tasks: list[Callable[[], Iterator[Said]]] = [
        partial(_look, walk.bound.origin, path) for path in paths[:-1]
    ]
    with Apart(tasks, processes=processes) as apart:
        for number in range(len(tasks)):
            before = walk.twin()
            try:
                _take(walk, apart.results(number))
            except (BrokenWalkError, LostHelperError):
                return before, number
    return walk, len(tasks)


def _take(walk: Walk, results: Iterator[Said]) -> None:
    """Take what was said of a file.

    Raises:
        LostHelperError: When it does not begin where the walk stands, or the process was of no help.
        BrokenWalkError: When something of it does not hold.
    """
    for result in results:
        if isinstance(result, Looked):
            walk.take(result.leaves, result.deeds)
            walk.last_kind = result.last_kind or walk.last_kind
            walk.commitments.update(result.commitments)
            walk.moved.update(result.moved)
            walk.proofs.update(result.proofs)
        elif result != (walk.chain.size, walk.chain.head):
            raise LostHelperError("the file begins elsewhere")


def _are_large(paths: Sequence[Path]) -> bool:
    """Tell whether helpers are worth their start; where a file is odd, whoever reads it tells so."""
    try:
        sizes = [path.lstat().st_size for path in paths]
    except OSError:
        return False
    return sum(sizes) > LARGE_BYTES and max(sizes) <= _LARGEST_FILE


def _look(origin: str, path: Path) -> Iterator[Said]:
    """Yield where a file claims to begin and, when it was read to its end, what its lines have to show.

    Raises:
        AuditError: When something is odd, of which this process is not the one to tell.
    """
    with opened(path) as file:
        claimed = _BEGINNING.match(file.read(_BEGINNING_BYTES))
    if claimed is None:
        raise AuditError("the file does not say where it begins")
    size, head = int(claimed[1]), bytes.fromhex(claimed[2].decode("ascii"))
    yield size, head
    scout, lines = Scout(origin, size, head), Lines([path])
    found, file_bytes, room_bytes = [], 0, 0
    for block in lines.blocks():
        found.append(scout.look(block))
        file_bytes += sum(map(len, block)) + len(block)
        room_bytes += room_of(found[-1])
        if file_bytes > _LARGEST_FILE or room_bytes > _MOST_ROOM_BYTES:
            raise AuditError("the file holds more than a writer puts into one")
    if lines.torn.size:
        raise AuditError("the file ends in the middle of a line")
    yield from found


def room_of(looked: Looked) -> int:
    """Return about how much memory it takes to keep what some lines have to show."""
    digests = len(looked.commitments) + len(looked.moved) + len(looked.proofs)
    said = sum(getsizeof(value) for deed in looked.deeds for value in _fields(deed.body).values())
    own = len(looked.leaves) * _LEAF_ROOM_BYTES + len(looked.deeds) * _DEED_ROOM_BYTES
    return own + said + digests * _DIGEST_ROOM_BYTES


def _fields(body: object) -> dict[str, int | str]:
    """Return what a walk asks of a deed: whatever else a forged line says is not kept."""
    found = body if isinstance(body, dict) else {}
    return {name: found[name] for name in _LOOKED_AT if isinstance(found.get(name), int | str)}


class Scout(Walk):
    """A walk over lines for what they show by themselves.

    Args:
        origin: The log's name.
        size: How many lines stand before.
        head: The leaf of the last of them.
    """

    def __init__(self, origin: str, size: int, head: bytes) -> None:
        super().__init__(Bound(origin=origin, vkeys={}, roots={}, end=None), Chain(head, Frontier()))
        self._before = size
        self._deeds: list[Deed] = []

    def look(self, lines: Sequence[bytes]) -> Looked:
        """Return what the next lines have to show; at least one.

        Raises:
            BrokenWalkError: When one does not follow, or is not spelled as a writer spells it.
        """
        self._leaves, self._deeds, self.last_kind = [], [], ""
        self.commitments, self.moved, self.proofs = Digests(), Digests(), Digests()
        for start in range(0, len(lines), AT_ONCE):
            self._feed(lines[start : start + AT_ONCE])
        self._before += len(lines)
        self.chain.head = self._leaves[-1]
        return Looked(
            leaves=self._leaves,
            deeds=self._deeds,
            last_kind=self.last_kind,
            commitments=list(self.commitments),
            moved=list(self.moved),
            proofs=list(self.proofs),
        )

    def _size(self) -> int:
        """Return how many lines were taken: a scout's tree takes none."""
        return self._before + len(self._leaves)

    def _settle(self) -> None:
        """Keep the leaves: they are for the walk that is helped."""

    def _take_special(self, kind: str, body: object, seq: int) -> None:
        self._deeds.append(Deed(seq, kind, _fields(body)))
