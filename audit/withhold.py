"""Delete on purpose, and say so: single bodies, or whole old parts of a session; the proof of the rest stays.

Each deletion is an entry of the host's log, durable before anything is deleted.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from audit.decoded import commitments_of
from audit.disclosure import commitments_within
from audit.errors import BrokenLedgerError, UnknownSessionError
from audit.escape import escape_line
from audit.host import HostLog
from audit.host_event import OpeningWithheld, SegmentPruned
from audit.index import read_index
from audit.lock import WriterLock
from audit.openings import Openings, without
from audit.recover import kept_segments, no_ledger, walk_of
from audit.schema import OVERFLOW
from audit.segments import Lines
from audit.session_record import SessionRecord
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
    files, record = host.files.session(session_id), read_index(host.files).session(session_id)
    if not kept_segments(files, record):
        raise no_ledger(session_id, record)
    lock = WriterLock(files.lock)
    try:
        whole = _whole_digest(files, digest)
        host.append(OpeningWithheld(session=session_id, commitment=whole, by=by, why=why))
        without(files, {whole})
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
        index = read_index(host.files)
        if index.broken is not None:
            raise index.broken
        there = kept_segments(files, index.session(session_id))
        doomed = there[: max(0, len(there) - keep_segments)]
        if doomed:
            walk = _verified(files, session_id, index.session(session_id), len(doomed))
            if walk.chain.size:
                host.append(_record(session_id, walk, why))
        return _delete(host.files, session_id)
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


def _verified(files: SessionFiles, session_id: str, record: SessionRecord, doomed: int) -> Walk:
    """Verify the whole session, and return the walk over its first files."""
    if not record.vkeys:
        raise BrokenLedgerError(
            f"the host's log holds no key of `{session_id}`, by which to prove what is left"
        )
    paths = [path for _, path in kept_segments(files, record)]
    walk = walk_of(session_id, record, collect=False)
    for block in Lines(paths[:doomed]).blocks():
        walk.feed(block)
    if walk.sealed_size != walk.chain.size:
        raise BrokenLedgerError(
            f"entries of `{session_id}` from {walk.sealed_size} on are not sealed", seq=walk.sealed_size
        )
    rest = Walk(walk.bound, walk.chain.copy(), epoch=walk.epoch, collect=False)
    for block in Lines(paths[doomed:]).blocks():
        rest.feed(block)
    if rest.chain.size < record.size:
        raise BrokenLedgerError(f"the log of `{session_id}` is truncated", seq=rest.chain.size)
    return walk


def _delete(state: StateFiles, session_id: str) -> int:
    """Delete what is recorded as pruned and still there, bodies first; return how many entries are gone.

    What an earlier prune left when it was killed goes too: as long as there is a file, its bodies are found.
    """
    files, record = state.session(session_id), read_index(state).session(session_id)
    if record.pruned is None:
        return 0
    kept = [path for _, path in kept_segments(files, record)]
    gone = [path for _, path in files.segments() if path not in kept]
    openings = Openings(files)
    bodies = _left_over(gone, openings) - _committed(kept, openings) if kept else openings.digests()
    without(files, bodies | _blobs_alone(files, openings))
    for path in gone:
        path.unlink()
    sync_folder(files.folder)
    return record.pruned.size


def _blobs_alone(files: SessionFiles, openings: Openings) -> set[str]:
    """Return what large values nothing opens any more: a prune was killed between its line and its file."""
    return {path.name.removesuffix(".gz") for path in files.blobs.glob("*.gz")} - openings.digests()


def _left_over(paths: Sequence[Path], openings: Openings) -> set[str]:
    """Return every commitment in files that are recorded as gone; what is odd in them holds none.

    Nobody verifies them any more, and what somebody writes into them keeps no prune from its end.
    """
    found: set[str] = set()
    moved: set[str] = set()
    for path in paths:
        with suppress(BrokenLedgerError):
            for line in Lines([path]):
                with suppress(BrokenLedgerError):
                    _gather(line, found, moved)
    for digest in moved:
        with suppress(BrokenLedgerError):
            found |= _within(digest, openings)
    return found | moved


def _committed(paths: Sequence[Path], openings: Openings) -> set[str]:
    """Return every commitment in some files, those within bodies that were moved out among them.

    Raises:
        BrokenLedgerError: When a line holds no body, or a body is not what was committed to.
    """
    found: set[str] = set()
    moved: set[str] = set()
    for line in Lines(paths):
        _gather(line, found, moved)
    return moved.union(found, *(_within(digest, openings) for digest in moved))


def _gather(line: bytes, found: set[str], moved: set[str]) -> None:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BrokenLedgerError("a line of the log is not JSON") from error
    match fields:
        case {"body": dict(body)}:
            (moved if body.keys() == {OVERFLOW} else found).update(commitments_of(body))
        case _:
            raise BrokenLedgerError("a line of the log holds no body")


def _within(digest: str, openings: Openings) -> set[str]:
    return commitments_within(openings.claimed(digest))


def _whole_digest(files: SessionFiles, digest: str) -> str:
    found = [known for known in Openings(files).digests() if known.startswith(digest)]
    if len(digest) < 8 or len(found) != 1:
        shown = escape_line(digest, width=20)
        hint = "8 digits or more of a `digest` that `pairlock audit show --json` prints"
        raise UnknownSessionError(f"no single commitment begins with `{shown}`", hint=hint)
    return found[0]
