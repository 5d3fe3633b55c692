"""Delete on purpose, and say so: single bodies, or whole old parts of a session; the proof of the rest stays.

Each deletion is an entry of the host's log, durable before anything is deleted.
"""

from pathlib import Path

from audit.errors import BrokenLedgerError, UnknownSessionError
from audit.escape import escape_line
from audit.host import HostLog
from audit.host_event import OpeningWithheld, SegmentPruned
from audit.index import read_index
from audit.lock import WriterLock
from audit.openings import Openings, without
from audit.recover import walk_of
from audit.segments import Lines
from audit.state import SessionFiles, StateFiles, sync_folder
from audit.walk import Walk


def redact(host: HostLog, session_id: str, digest: str, *, by: str, why: str) -> str:
    """Delete the value behind a commitment; the entry still proves that there was one.

    Args:
        host: The host's log.
        session_id: A whole id.
        digest: The commitment, or a beginning of it that is unique in the session.
        by: Who does it.
        why: For what reason.

    Returns:
        The whole commitment.

    Raises:
        UnknownSessionError: When the session has no such commitment.
        LedgerLockedError: When the session is being written.
    """
    files = host.files.session(session_id)
    if not files.segments():
        raise UnknownSessionError(f"session `{session_id}` has no ledger")
    lock = WriterLock(files.lock)
    try:
        whole = _whole_digest(files, digest)
        host.append(OpeningWithheld(session=session_id, commitment=whole, by=by, why=why))
        without(files, whole)
        return whole
    finally:
        lock.release()


def prune(host: HostLog, session_id: str, *, why: str, keep_segments: int = 0) -> int:
    """Delete a session's oldest files, as whole sealed segments, with the bodies that only they refer to.

    Args:
        host: The host's log.
        session_id: A whole id.
        why: For what reason.
        keep_segments: How many of the newest files to keep; 0 deletes them all.

    Returns:
        How many entries are gone in all.

    Raises:
        BrokenLedgerError: When the session does not verify: what is broken is evidence, and is not deleted.
        LedgerLockedError: When the session is being written.
    """
    files = host.files.session(session_id)
    lock = WriterLock(files.lock)
    try:
        segments = files.segments()
        doomed = segments[: len(segments) - keep_segments] if keep_segments else segments
        if not doomed:
            return 0
        gone, kept = _walk_both(
            host.files, session_id, [path for _, path in doomed], len(segments) - len(doomed)
        )
        host.append(_record(session_id, gone, why))
        _delete(files, [path for _, path in doomed], gone.commitments - kept)
        return gone.chain.size
    finally:
        lock.release()


def _record(session_id: str, gone: Walk, why: str) -> SegmentPruned:
    return SegmentPruned(
        session=session_id,
        size=gone.chain.size,
        peaks=tuple(peak.hex() for peak in gone.chain.frontier.peaks),
        head=gone.chain.head.hex(),
        epoch=gone.epoch,
        why=why,
    )


def _walk_both(state: StateFiles, session_id: str, doomed: list[Path], kept: int) -> tuple[Walk, set[str]]:
    """Verify the whole session; return the walk over the doomed part, and the kept part's commitments."""
    index = read_index(state)
    if index.broken is not None:
        raise index.broken
    record = index.session(session_id)
    walk = walk_of(session_id, record)
    for block in Lines(doomed).blocks():
        walk.feed(block)
    if walk.sealed_size != walk.chain.size:
        raise BrokenLedgerError(
            f"entries of `{session_id}` from {walk.sealed_size} on are not sealed", seq=walk.sealed_size
        )
    rest = Walk(walk.bound, walk.chain.copy(), epoch=walk.epoch)
    if kept:
        for block in Lines([path for _, path in state.session(session_id).segments()][-kept:]).blocks():
            rest.feed(block)
    if rest.chain.size < record.size:
        raise BrokenLedgerError(f"the log of `{session_id}` is truncated", seq=rest.chain.size)
    return walk, rest.commitments


def _delete(files: SessionFiles, paths: list[Path], commitments: set[str]) -> None:
    for path in paths:
        path.unlink()
    for digest in commitments:
        without(files, digest)
    sync_folder(files.folder)


def _whole_digest(files: SessionFiles, digest: str) -> str:
    found = [known for known in Openings(files).digests() if known.startswith(digest)]
    if len(digest) < 8 or len(found) != 1:
        shown = escape_line(digest, width=20)
        raise UnknownSessionError(f"no single commitment begins with `{shown}`", hint="at least 8 characters")
    return found[0]
