"""The host's log, read and verified: what it knows of every session, and which keys have signed it.

This is how `verify`, `list` and recovery learn what a session's own file cannot prove.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from audit.chain import Chain, Entry, read
from audit.errors import (
    AuditError,
    BadSignatureError,
    BrokenLedgerError,
    LedgerLockedError,
    MalformedLineError,
)
from audit.fields import Event
from audit.host import host_origin
from audit.host_event import (
    HostOpened,
    KeyRotated,
    OpeningWithheld,
    SegmentPruned,
    SessionRegistered,
    SessionReopened,
)
from audit.lock import held_still
from audit.note import Checkpoint, VerifierKey, open_checkpoint, unverified_checkpoint
from audit.schema import OVERFLOW, event_of
from audit.segments import Lines, text_in
from audit.session_record import SessionRecord
from audit.state import StateFiles


@dataclass(slots=True)
class HostIndex:
    """The host's log, read.

    Attributes:
        origin: The log's name; empty when there is no log.
        size: Entries.
        keys: Every key that has signed the log, oldest first; the last is in force.
        sessions: In the order in which they were registered.
        broken: Why the log does not hold; None when it does.
        torn_bytes: Bytes of a torn last line; harmless.
        anchor_root: The root at the size that was asked for; None when the log is shorter.
    """

    origin: str = ""
    size: int = 0
    keys: list[VerifierKey] = field(default_factory=list)
    sessions: dict[str, SessionRecord] = field(default_factory=dict)
    broken: BrokenLedgerError | None = None
    torn_bytes: int = 0
    anchor_root: bytes | None = None

    def session(self, session_id: str) -> SessionRecord:
        """Return what is known of a session; an empty record when nothing is."""
        return self.sessions.get(session_id) or SessionRecord()


def read_index(files: StateFiles, *, anchor_size: int | None = None) -> HostIndex:
    """Read the host's log and verify it on the way; a log that does not hold is read up to there.

    Args:
        files: The state's files.
        anchor_size: A size at which to note the root.

    Raises:
        LedgerLockedError: When a writer keeps everybody else waiting for too long.
    """
    index = HostIndex()
    if not files.log.exists():
        if files.checkpoint.exists():
            index.broken = BrokenLedgerError(
                "the host's log is gone, its checkpoint is there", path=files.log
            )
        return index
    try:
        with held_still(files.lock):
            _Reading(files, index, anchor_size).run()
    except BrokenLedgerError as error:
        index.broken = error
    except LedgerLockedError:
        raise  # nothing is known of it then
    except (AuditError, OSError, ValueError) as error:
        index.broken = BrokenLedgerError(str(error), path=files.log, seq=index.size)
    return index


def covering_note(files: StateFiles, size: int) -> str | None:
    """Return the checkpoint over so many entries; after a crash that may be the one signed in advance.

    Returns:
        The note's text; where neither covers them, what `checkpoint` holds; None where there is none.

    Raises:
        BrokenLedgerError: When a file cannot be read.
        MalformedLineError: When `checkpoint` holds no checkpoint.
    """
    signed, coming = _claimed(files.checkpoint), _foreseen(files.next_checkpoint)
    if coming is not None and coming[1].size == size > (signed[1].size if signed else 0):
        return coming[0]
    return signed[0] if signed else None


class _Reading:
    """One pass over the host's log."""

    def __init__(self, files: StateFiles, index: HostIndex, anchor_size: int | None) -> None:
        self._files = files
        self._index = index
        self._anchor_size = anchor_size
        self._signed = _claimed(files.checkpoint)
        self._coming = _foreseen(files.next_checkpoint)
        self._standing: dict[int, Checkpoint] = {}
        self._chain: Chain | None = None

    def run(self) -> None:
        lines = Lines([self._files.log])
        for line in lines:
            self._take(line)
        self._index.torn_bytes = lines.torn.size
        self._check_end()

    def _take(self, line: bytes) -> None:
        chain = self._chain or self._start(line)
        seq = chain.size
        before = chain.copy() if b'"type":"key.rotated"' in line else None
        try:
            entry = read(line, chain.take(line))
        except MalformedLineError as error:
            raise BrokenLedgerError(str(error), path=self._files.log, seq=seq) from error
        try:
            if entry.type == "session.sealed":
                self._learn_seal(entry)
            elif entry.body.keys() != {OVERFLOW}:
                self._learn(entry, event_of(entry), before)
        except BrokenLedgerError as error:
            raise BrokenLedgerError(str(error), path=self._files.log, seq=seq) from error
        self._index.size = chain.size
        self._note_standing(chain)

    def _start(self, line: bytes) -> Chain:
        first = event_of(read(line, b""))
        if not isinstance(first, HostOpened):
            raise BrokenLedgerError(
                "the host's log does not begin with `host.opened`", path=self._files.log, seq=0
            )
        key = VerifierKey.parse(first.vkey)
        self._index.origin = host_origin(first.name)
        self._index.keys.append(key)
        self._chain = Chain.start(self._index.origin)
        return self._chain

    def _note_standing(self, chain: Chain) -> None:
        if chain.size in {item[1].size for item in (self._signed, self._coming) if item}:
            self._standing[chain.size] = chain.checkpoint(self._index.origin)
        if chain.size == self._anchor_size:
            self._index.anchor_root = chain.frontier.root()

    def _learn(self, entry: Entry, event: Event, before: Chain | None) -> None:
        match event:
            case SessionRegistered():
                self._record(event.session).register(event, entry.at)
            case SessionReopened():
                self._record(event.session).reopen(event, entry.seq)
            case SegmentPruned():
                self._record(event.session).prune(event, entry.seq)
            case OpeningWithheld():
                self._record(event.session).withheld.add(event.commitment)
            case KeyRotated() if before is not None:
                self._rotate(event, before, entry.seq)
            case _:
                pass

    def _record(self, session: str) -> SessionRecord:
        return self._index.sessions.setdefault(session, SessionRecord())

    def _learn_seal(self, entry: Entry) -> None:
        """Take in a seal, the most frequent entry by far, without the schema's help."""
        match entry.body:
            case {
                "session": str(session),
                "epoch": int(epoch),
                "size": int(size),
                "root": str(root),
                "head": str(head),
                "closed": bool(closed),
            }:
                record = self._record(session)
                record.seal(size, root, head, entry.seq)
                record.sealed_epoch = max(record.sealed_epoch, epoch)
                record.closed_at_size = size if closed else None
            case _:
                raise BrokenLedgerError("a seal is malformed", path=self._files.log, seq=entry.seq)

    def _rotate(self, event: KeyRotated, before: Chain, seq: int) -> None:
        """Follow the hand-over: the old key must have signed the log as it was, and the new key."""
        try:
            vouched = open_checkpoint(event.note, self._index.keys[-1])
        except AuditError as error:
            raise BrokenLedgerError(
                "the old key does not vouch for the new", path=self._files.log, seq=seq
            ) from error
        if vouched != before.checkpoint(self._index.origin, f"next {event.new_vkey}"):
            raise BrokenLedgerError(
                "the old key vouches for another log or key", path=self._files.log, seq=seq
            )
        self._index.keys.append(VerifierKey.parse(event.new_vkey))

    def _check_end(self) -> None:
        """Check that a checkpoint of the key in force covers the log to its end."""
        size, known = self._index.size, self._signed[1].size if self._signed else 0
        if size == 0 and self._signed is None and self._is_none_yet():
            return
        if known > size:
            raise BrokenLedgerError(
                f"its checkpoint covers {known} entries, the file holds {size}",
                path=self._files.log,
                seq=size,
            )
        if self._signed is not None and known == size > 0:
            self._check_signature(self._signed, self._index.keys[-1:])
            return
        if self._coming is None or not known + 1 == size == self._coming[1].size:
            raise BrokenLedgerError(f"no checkpoint covers entry {known}", path=self._files.log, seq=known)
        if self._signed is not None:
            self._check_signature(self._signed, self._index.keys)
        self._check_signature(self._coming, self._index.keys[-1:])

    def _is_none_yet(self) -> bool:
        """Tell whether whoever made the log was killed before its first line: no session was begun then."""
        announced = self._coming[1].size == 1 if self._coming else not self._index.torn_bytes
        return announced and not self._files.any_session_was_begun()

    def _check_signature(self, claimed: tuple[str, Checkpoint], keys: Sequence[VerifierKey]) -> None:
        """Check that one of the keys signs the log as it stood at the size that a checkpoint claims."""
        note, checkpoint = claimed
        try:
            signed_by_one(note, keys)
        except BadSignatureError as error:
            raise BrokenLedgerError(
                f"the checkpoint does not hold: {error}", path=self._files.checkpoint
            ) from error
        if checkpoint != self._standing.get(checkpoint.size):  # a hand-over to the next key is no checkpoint
            raise BrokenLedgerError("it is not what its checkpoint signs", path=self._files.log)


def signed_by_one(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Return the checkpoint in a note that one of the keys has signed.

    Raises:
        BadSignatureError: When none has.
        MalformedLineError: When the note is no checkpoint.
    """
    for key in keys[:-1]:
        with suppress(BadSignatureError):
            return open_checkpoint(note, key)
    return open_checkpoint(note, keys[-1])


def _claimed(path: Path) -> tuple[str, Checkpoint] | None:
    note = text_in(path)
    return None if note is None else (note, unverified_checkpoint(note))


def _foreseen(path: Path) -> tuple[str, Checkpoint] | None:
    """Return what was signed in advance; what is no checkpoint counts as if it were not there."""
    try:
        return _claimed(path)
    except MalformedLineError:
        return None
