"""Verify a session's log, or all of them and the host's: read everything, believe nothing.

The verdicts are in ``verdict``; how a line is held against what binds it, in ``walk``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from audit.disclosure import disclosure_of
from audit.errors import BrokenLedgerError, LedgerError, UnknownSessionError
from audit.evidence import Evidence, gather
from audit.index import read_index
from audit.lock import is_held
from audit.recover import kept_segments, walk_of
from audit.scout import ahead
from audit.segments import Lines
from audit.session_record import SessionRecord
from audit.state import SessionFiles
from audit.verdict import (
    Anchored,
    Authenticity,
    Broken,
    Closed,
    Completeness,
    Crashed,
    Disclosed,
    Endless,
    Forged,
    Freshness,
    Intact,
    Integrity,
    Missing,
    Open,
    Pinned,
    Pruned,
    Truncated,
    Unknown,
    Unsigned,
    Verification,
)
from audit.walk import BEHIND_THE_END, BrokenWalkError, Walk

HOST = "host"
_UNKNOWN = "the host's log does not know this session"


def verify_session(
    state: Path, session_id: str, *, pinned_vkey: str | None = None, against: str | None = None
) -> Verification:
    """Verify one session.

    Args:
        state: The state folder.
        session_id: A whole id.
        pinned_vkey: As for `gather`.
        against: As for `gather`.

    Raises:
        UnknownSessionError: When neither a file nor the host's log knows the session.
    """
    evidence = gather(state, pinned_vkey=pinned_vkey, against=against)
    return _settled(evidence, session_id, lambda: gather(state, pinned_vkey=pinned_vkey, against=against))


def _settled(evidence: Evidence, session_id: str, again: Callable[[], Evidence]) -> Verification:
    """Return the verdicts; where they are bad and the host's log has grown since, those of a second look.

    Between the two readings the session may have been taken up again, with a key that was not yet known.
    """
    found = verify_with(evidence, session_id)
    if not found.faults() or read_index(evidence.state).size == evidence.index.size:
        return found
    return verify_with(again(), session_id)


def verify_all(
    state: Path, *, pinned_vkey: str | None = None, against: str | None = None
) -> Iterator[Verification]:
    """Verify the host's log, then every session that it knows or that has a file, oldest first.

    Args:
        state: The state folder.
        pinned_vkey: As for `gather`.
        against: As for `gather`.
    """

    def again() -> Evidence:
        return gather(state, pinned_vkey=pinned_vkey, against=against)

    evidence = again()
    yield verify_host(evidence)
    known = list(evidence.index.sessions)
    for session_id in known:
        yield _settled(evidence, session_id, again)
    stray = sorted(set(evidence.state.session_ids()) - set(known))
    for session_id in stray:
        if _has_file(evidence.state.session(session_id)):
            yield _settled(evidence, session_id, again)


def _has_file(files: SessionFiles) -> bool:
    """Tell whether a session has a file, or cannot be looked into."""
    try:
        return bool(files.segments())
    except OSError:
        return True


def verify_host(evidence: Evidence) -> Verification:
    """Return the verdicts on the host's own log."""
    index = evidence.index
    integrity: Integrity = Intact(index.size, 0)
    if index.broken is not None:
        at = index.size if index.broken.seq is None else index.broken.seq
        integrity = Broken(at, max(at, index.size), str(index.broken), 0)
    return Verification(
        log=HOST,
        integrity=integrity,
        completeness=Crashed(index.torn_bytes) if index.torn_bytes else Endless(),
        authenticity=evidence.authenticity,
        freshness=evidence.freshness,
        disclosure=Disclosed(0, 0, 0),
    )


def verify_with(evidence: Evidence, session_id: str) -> Verification:
    """Return the verdicts on one session, the host's log having been read.

    Raises:
        UnknownSessionError: When neither a file nor the host's log knows the session.
    """
    files = evidence.state.session(session_id)
    record = evidence.index.session(session_id)
    found = Verification(
        log=session_id,
        integrity=Intact(0, 0),
        completeness=Missing(record.size),
        authenticity=_session_authenticity(evidence, known=bool(record.vkeys)),
        freshness=_session_freshness(evidence, record),
        disclosure=Disclosed(0, 0, 0),
    )
    try:
        segments = kept_segments(files, record)
        held = is_held(files.lock)
    except (OSError, LedgerError) as error:
        why = (
            f"it cannot be looked into: {error.strerror}".lower()
            if isinstance(error, OSError)
            else str(error)
        )
        return replace(found, integrity=Broken(0, 0, why, 0), completeness=Unknown())
    if segments:
        whole = _with_file(found, files, record, [path for _, path in segments], held=held)
        if evidence.index.broken is not None and isinstance(whole.completeness, Closed):
            return replace(whole, completeness=Closed())  # what does not hold may have known of it
        return whole
    if session_id in evidence.index.sessions:
        return _without_file(found, record)
    raise UnknownSessionError(f"session `{session_id}` has no ledger")


def _without_file(found: Verification, record: SessionRecord) -> Verification:
    pruned = record.pruned
    if pruned is not None and pruned.size >= record.size:
        return replace(found, completeness=Pruned(pruned.size))
    return found


def _with_file(
    found: Verification, files: SessionFiles, record: SessionRecord, segments: Sequence[Path], *, held: bool
) -> Verification:
    start = walk_of(found.log, record)
    walk, taken = ahead(start.twin(), segments)
    lines = Lines(segments[taken:])
    integrity, there = _walked(walk, lines, pruned=start.chain.size)
    return replace(
        found,
        authenticity=_never_begun(found.authenticity, walk, record),
        integrity=integrity,
        completeness=_completeness(walk, record, there, lines.torn.size, held=held),
        disclosure=disclosure_of(walk, files, record.withheld),
    )


def _never_begun(found: Authenticity, walk: Walk, record: SessionRecord) -> Authenticity:
    """Tell a session that died before it was registered, and did nothing, from one that somebody planted."""
    if isinstance(found, Forged) and not record.vkeys and walk.chain.size <= 1 and _UNKNOWN in found.why:
        return Unsigned(f"{_UNKNOWN}; it was never begun")
    return found


def _walked(walk: Walk, lines: Lines, *, pruned: int) -> tuple[Integrity, int]:
    """Return what became of the walk, and how many entries there are, with those behind a broken one.

    Args:
        walk: Where the lines begin.
        lines: Those that are left to be taken.
        pruned: How many entries were deleted on purpose.
    """
    there, broken = walk.chain.size, None
    try:
        for block in lines.blocks():
            there += len(block)
            broken = broken or _fed(walk, block)
    except BrokenLedgerError as error:
        broken = broken or Broken(walk.chain.size, walk.chain.size, str(error), walk.sealed_size)
    if broken is None and lines.torn.size and walk.has_ended():
        broken = Broken(there, there, BEHIND_THE_END, walk.sealed_size)
    return broken or Intact(walk.chain.size, walk.chain.size - walk.sealed_size, pruned), there


def _fed(walk: Walk, block: list[bytes]) -> Broken | None:
    try:
        walk.feed(block)
    except BrokenWalkError as error:
        return Broken(error.first, error.last, error.why, min(error.first, walk.sealed_size))
    return None


def _completeness(
    walk: Walk, record: SessionRecord, there: int, torn_bytes: int, *, held: bool
) -> Completeness:
    if there < record.size:
        return Truncated(there, record.size)
    if held:
        return Open()
    if walk.chain.size < there:
        return Unknown()
    if walk.last_kind == "session.closed" and walk.sealed_size == walk.chain.size and not torn_bytes:
        return Closed(told=record.closed_at_size is not None)
    return Crashed(torn_bytes)


def _session_authenticity(evidence: Evidence, *, known: bool) -> Authenticity:
    if known or isinstance(evidence.authenticity, Forged):
        return evidence.authenticity
    return Forged(_UNKNOWN) if isinstance(evidence.authenticity, Pinned) else Unsigned(_UNKNOWN)


def _session_freshness(evidence: Evidence, record: SessionRecord) -> Freshness:
    match evidence.freshness:
        case Anchored(host_size=host_size):
            covered = [size for size, seq in record.sealed.items() if seq < host_size]
            since = record.pruned_at >= host_size
            return Anchored(max(covered, default=0), host_size, pruned_since=since)
        case other:
            return other
