"""Take a session's log up again where another writer left it: verify it, and say where it stands.

Nothing is repaired but a torn last line; a log that does not verify is refused.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from audit.bound import Bound
from audit.chain import Chain
from audit.errors import BrokenLedgerError, UnknownSessionError
from audit.index import read_index
from audit.merkle import Frontier
from audit.segments import Lines, Torn, opened
from audit.session_record import SessionRecord
from audit.skim import Skim
from audit.spelling import Spellings
from audit.state import SessionFiles, StateFiles
from audit.walk import Walk

_PLACE = re.compile(rb'\{"seq":(\d{1,16}),')
_PLACE_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Where a log stood when it was taken up again.

    Attributes:
        chain: Its end.
        segment: The number of the file that is written next.
        epoch: The epoch of the writer before.
        sealed_size: Entries that a seal covers.
        torn: What was cut off.
        was_closed: Whether its last entry was the session's end.
    """

    chain: Chain
    segment: int
    epoch: int
    sealed_size: int
    torn: Torn
    was_closed: bool


def session_origin(session_id: str) -> str:
    """Return the name of a session's log."""
    return f"pairlock/session/{session_id}"


def bound_of(session_id: str, record: SessionRecord) -> Bound:
    """Return what the host's log binds a session's file to."""
    return Bound(
        origin=session_origin(session_id), vkeys=record.vkeys, roots=record.roots, end=record.closed_at_size
    )


def walk_of(
    session_id: str, record: SessionRecord, *, collect: bool = True, spellings: Spellings | None = None
) -> Walk:
    """Return a walk that begins at the log's start, or where its pruned part ended."""
    bound = bound_of(session_id, record)
    chain, epoch = _start_of(bound, record)
    return Walk(bound, chain, epoch=epoch, collect=collect, spellings=spellings)


def skim_of(session_id: str, record: SessionRecord) -> Skim:
    """Return a skim that begins at the log's start, or where its pruned part ended."""
    bound = bound_of(session_id, record)
    chain, epoch = _start_of(bound, record)
    return Skim(bound, chain, heads=record.heads, epoch=epoch)


def _start_of(bound: Bound, record: SessionRecord) -> tuple[Chain, int]:
    pruned = record.pruned
    if pruned is None:
        return Chain.start(bound.origin), 0
    frontier = Frontier(pruned.size, [bytes.fromhex(peak) for peak in pruned.peaks])
    return Chain(bytes.fromhex(pruned.head), frontier), pruned.epoch


def kept_segments(files: SessionFiles, record: SessionRecord) -> list[tuple[int, Path]]:
    """Return a session's files, oldest first, without those that a prune has recorded and not yet deleted.

    Args:
        files: The session's files.
        record: What the host's log knows of it.
    """
    found = files.segments()
    if record.pruned is not None:
        while found and _first_place(found[0][1]) < record.pruned.size:
            del found[0]
    return found


def _first_place(path: Path) -> int:
    """Return the place that a file's first line claims; that of no entry where it claims none."""
    try:
        with opened(path) as file:
            claimed = _PLACE.match(file.read(_PLACE_BYTES))
    except BrokenLedgerError:
        return sys.maxsize  # it counts as kept, and whoever reads on from there tells what it is
    return int(claimed[1]) if claimed else sys.maxsize


def no_ledger(session_id: str, record: SessionRecord) -> UnknownSessionError:
    """Return what is told where a session has no file."""
    pruned = record.pruned
    if pruned is None or pruned.size < record.size:
        return UnknownSessionError(f"session `{session_id}` has no ledger")
    return UnknownSessionError(
        f"session `{session_id}` was pruned: its {pruned.size} entries were deleted on purpose",
        hint="`pairlock audit verify` shows that nothing else is missing",
    )


def recover(state: StateFiles, session_id: str) -> Recovered:
    """Return where a session's log stands.

    Args:
        state: The state's files.
        session_id: A whole id; the caller holds the session's lock.

    Raises:
        UnknownSessionError: When it has no log.
        BrokenLedgerError: When the log, or the host's, does not verify, or is shorter than the host's log
        knows.
    """
    index = read_index(state)
    record = index.session(session_id)
    segments = kept_segments(state.session(session_id), record)
    if not segments:
        raise no_ledger(session_id, record)
    if index.broken is not None:
        raise index.broken
    walk = walk_of(session_id, record, collect=False)
    lines = Lines([path for _, path in segments])
    for block in lines.blocks():
        walk.feed(block)
    if lines.torn.size and walk.has_ended():
        raise BrokenLedgerError(str(walk.behind_the_end()), path=segments[-1][1], seq=walk.chain.size)
    if walk.chain.size < record.size:
        raise BrokenLedgerError(
            f"the log of `{session_id}` has {walk.chain.size} entries, the host's log knows {record.size}",
            path=segments[-1][1],
            seq=walk.chain.size,
        )
    return Recovered(
        chain=walk.chain,
        segment=segments[-1][0],
        epoch=walk.epoch,
        sealed_size=walk.sealed_size,
        torn=lines.torn,
        was_closed=walk.last_kind == "session.closed",
    )
