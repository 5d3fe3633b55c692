"""The host's log, read and verified: what it knows of every session, and which keys have signed it.

This is how `verify`, `list` and recovery learn what a session's own file cannot prove.
"""

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
from audit.merkle import Frontier
from audit.note import Checkpoint, VerifierKey, open_checkpoint, unverified_checkpoint
from audit.schema import OVERFLOW, event_of
from audit.segments import Lines, text_in
from audit.state import StateFiles


@dataclass(slots=True)
class SessionRecord:
    """What the host's log says of one session.

    Attributes:
        registered: Its registration; None when it was only reopened or sealed.
        registered_at: The wall clock of its registration.
        vkeys: Epoch to the key that seals.
        roots: Size to root, from seals and reopenings.
        heads: Size to the leaf of the last entry, from seals.
        sealed: Size to the host's entry that told of it.
        size: The largest size known.
        closed_at_size: The size at which it was sealed as closed; None when it was not, or goes on.
        pruned: What was deleted on purpose; None when nothing was.
        pruned_at: The host's entry that told of it; -1 when nothing was.
        withheld: Commitments whose openings were deleted on purpose.
        sealed_epoch: The last epoch that has sealed; 0 when none has.
    """

    registered: SessionRegistered | None = None
    registered_at: str = ""
    vkeys: dict[int, str] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    heads: dict[int, bytes] = field(default_factory=dict)
    sealed: dict[int, int] = field(default_factory=dict)
    size: int = 0
    closed_at_size: int | None = None
    pruned: SegmentPruned | None = None
    pruned_at: int = -1
    withheld: set[str] = field(default_factory=set)
    sealed_epoch: int = 0

    def register(self, event: SessionRegistered, at: str) -> None:
        """Take in that the session exists.

        Raises:
            BrokenLedgerError: When it did before.
        """
        if self.registered is not None:
            raise BrokenLedgerError(f"session `{event.session}` is registered a second time")
        self.registered, self.registered_at = event, at
        self.vkeys[event.epoch] = event.vkey

    def reopen(self, event: SessionReopened, seq: int) -> None:
        """Take in that another writer has taken the session up.

        Raises:
            BrokenLedgerError: When its key would stand for one that has sealed, or its root for another.
        """
        if event.epoch <= self.sealed_epoch:
            raise BrokenLedgerError(f"epoch {event.epoch} of `{event.session}` has sealed with another key")
        self.vkeys[event.epoch] = event.vkey
        self.learn(event.size, event.root, seq)
        self.closed_at_size = None

    def seal(self, size: int, root: str, head: str, seq: int) -> None:
        """Take in that the session's log had this root, and this last entry, at this size.

        Raises:
            BrokenLedgerError: When it is known to have had others.
        """
        self.learn(size, root, seq)
        if self.heads.setdefault(size, bytes.fromhex(head)) != bytes.fromhex(head):
            raise BrokenLedgerError(f"two heads of one session at {size} entries")

    def learn(self, size: int, root: str, seq: int) -> None:
        """Take in that the session's log had this root at this size.

        Raises:
            BrokenLedgerError: When it is known to have had another: what was sealed is not sealed otherwise
            by whoever gets hold of the key later.
        """
        if self.roots.setdefault(size, bytes.fromhex(root)) != bytes.fromhex(root):
            raise BrokenLedgerError(f"two roots of one session at {size} entries")
        self.sealed.setdefault(size, seq)
        self.size = max(self.size, size)

    def prune(self, event: SegmentPruned, seq: int) -> None:
        """Take in what was deleted on purpose.

        Raises:
            BrokenLedgerError: When what would be proved from there on is not what was sealed.
        """
        if event.epoch not in self.vkeys or not self._can_end(event.size) or not self._is_known(event):
            raise BrokenLedgerError(f"what is pruned of `{event.session}` is not what was sealed")
        self.pruned, self.pruned_at = event, seq

    def _can_end(self, size: int) -> bool:
        """Tell whether a pruned part may end there: behind what is pruned already, not behind the end."""
        before = 1 if self.pruned is None else self.pruned.size
        return before <= size and (self.closed_at_size is None or size <= self.closed_at_size)

    def _is_known(self, event: SegmentPruned) -> bool:
        """Tell whether a pruned part ends as it was sealed there, where a seal of that size is known."""
        peaks, head = [bytes.fromhex(peak) for peak in event.peaks], bytes.fromhex(event.head)
        if len(peaks) != event.size.bit_count() or self.heads.get(event.size, head) != head:
            return False
        root = Frontier(event.size, peaks).root()
        return self.roots.get(event.size, root) == root


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


class _Reading:
    """One pass over the host's log."""

    def __init__(self, files: StateFiles, index: HostIndex, anchor_size: int | None) -> None:
        self._files = files
        self._index = index
        self._anchor_size = anchor_size
        self._signed = _claimed(files.checkpoint)
        self._coming = _claimed(files.next_checkpoint)
        self._roots: dict[int, bytes] = {}
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
        self._note_root(chain)

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

    def _note_root(self, chain: Chain) -> None:
        wanted = {item[1].size for item in (self._signed, self._coming) if item}
        if chain.size in wanted or chain.size == self._anchor_size:
            self._roots[chain.size] = chain.frontier.root()
        if chain.size == self._anchor_size:
            self._index.anchor_root = self._roots[chain.size]

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
        size = self._index.size
        for claimed in (self._signed, self._coming):
            if claimed is None:
                continue
            note, checkpoint = claimed
            if checkpoint.size == size and checkpoint.origin == self._index.origin:
                self._check_signature(note, size)
                return
        known = self._signed[1].size if self._signed else 0
        if known > size:
            raise BrokenLedgerError(
                f"its checkpoint covers {known} entries, the file holds {size}",
                path=self._files.log,
                seq=size,
            )
        raise BrokenLedgerError(f"no checkpoint covers entry {known}", path=self._files.log, seq=known)

    def _check_signature(self, note: str, size: int) -> None:
        try:
            checkpoint = open_checkpoint(note, self._index.keys[-1])
        except BadSignatureError as error:
            raise BrokenLedgerError(
                f"the checkpoint does not hold: {error}", path=self._files.checkpoint
            ) from error
        if checkpoint.root != self._roots[size]:
            raise BrokenLedgerError("it is not what its checkpoint signs", path=self._files.log)


def _claimed(path: Path) -> tuple[str, Checkpoint] | None:
    note = text_in(path)
    return None if note is None else (note, unverified_checkpoint(note))
