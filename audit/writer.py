"""The one writer of a session's log: a thread that takes what waits, chains it, writes it, syncs it, says so.

Group commit falls out of it: while one batch is on its way to the disk the next one gathers. What an event
means is told elsewhere; here are only encoded lines, in order.
"""

import queue
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from audit.appendfile import AppendFile, spoken
from audit.chain import Chain, join, leaf_hash
from audit.encode import Encoder
from audit.errors import AuditError, LedgerDeadError, LedgerError, LedgerFullError
from audit.event import LogSealed
from audit.host import HostLog, Receipt
from audit.host_event import SessionSealed
from audit.host_seals import HostSeals
from audit.note import SignerKey, sign
from audit.openings import Opening, write_blob
from audit.segments import Torn
from audit.state import SessionFiles

SEAL_ENTRIES = 64
SEAL_SECONDS = 5.0
LAZY_SECONDS = 0.1
SEGMENT_BYTES = 64 * 1024 * 1024
_BATCH_BYTES = 256 * 1024


class Urgency(Enum):
    """How soon a line must be durable."""

    SYNC = "sync"
    LAZY = "lazy"
    CLOSING = "closing"


@dataclass(slots=True, kw_only=True)
class Waiting:
    """A line that waits to be written.

    Attributes:
        rest: The encoded line without place and predecessor.
        openings: What must be durable before it.
        urgency: How soon.
        asker: Who waits for the answer, opaque to the writer; None for a lazy line.
    """

    rest: bytes
    openings: list[Opening]
    urgency: Urgency
    asker: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """With what and how often a log is sealed.

    Attributes:
        session: The session's id.
        origin: The log's name.
        key: The session's key of this epoch; in memory only.
        epoch: Counted from 1.
        entries: Seal at the latest after that many entries.
        seconds: Seal at the latest after that time.
        segment_bytes: Begin a new file, after a seal, when the present one is larger.
    """

    session: str
    origin: str
    key: SignerKey
    epoch: int
    entries: int = SEAL_ENTRIES
    seconds: float = SEAL_SECONDS
    segment_bytes: int = SEGMENT_BYTES


class Tell(Protocol):
    """Who is told by a writer, from the writer's thread; neither call may raise or block."""

    def answered(self, answers: list[tuple[object, Receipt | LedgerError]]) -> None:
        """Take, for each asker of one batch, the receipt or the error."""
        ...

    def failed(self, error: LedgerError) -> None:
        """Take, once, that the log can no longer be written."""
        ...


class _Stop:
    """Asks the thread to end."""


@dataclass(slots=True)
class _Gathered:
    """What waits for the next write."""

    lines: list[Waiting] = field(default_factory=list)
    size: int = 0
    urgent: bool = False
    since: float = 0.0

    def add(self, line: Waiting, now: float) -> None:
        if not self.lines:
            self.since = now
        self.lines.append(line)
        self.size += len(line.rest)
        self.urgent = self.urgent or line.urgency is not Urgency.LAZY


class Writer:
    """Owns the files of one session's log while it is open.

    Args:
        files: The session's files; the caller holds their lock.
        chain: Where the log stands.
        segment: The number of the file that is written now.
        sealing: With what to seal.
        encoder: Encodes the seals.
        host: The host's log.
        tell: Who is told, from the writer's thread.
    """

    def __init__(  # noqa: PLR0913 - the parts of one writer, all named
        self,
        *,
        files: SessionFiles,
        chain: Chain,
        segment: int,
        sealing: Sealing,
        encoder: Encoder,
        host: HostLog,
        tell: Tell,
    ) -> None:
        self._files = files
        self._chain = chain
        self._leaves: list[bytes] = []
        self._segment = segment
        self._sealing = sealing
        self._encoder = encoder
        self._tell = tell
        self._queue: queue.SimpleQueue[Waiting | _Stop] = queue.SimpleQueue()
        self._file = AppendFile(files.segment(segment))
        self._table = _open_table(files)
        self._thread = threading.Thread(target=self._run, name=f"ledger-{sealing.session}", daemon=True)
        self._sealed_at = time.monotonic()
        self._unsealed = 0
        self._closed = False
        self._host = HostSeals(host, self._failed)
        self.error: LedgerError | None = None

    def write_first(self, line: Waiting) -> Receipt:
        """Write a line before the thread runs.

        Raises:
            LedgerError: When it cannot be written.
        """
        return self._write([line])[0]

    def hold_reserve(self) -> int:
        """Hold room for the closing lines and return how much it is; 0 where the filesystem cannot.

        Raises:
            LedgerFullError: When the disk has no room for it.
        """
        self._file.reserve()
        return self._file.reserved_bytes

    def cut(self, torn: Torn) -> None:
        """Cut a torn last line off.

        Raises:
            LedgerError: When that fails.
        """
        if torn.size:
            self._file.truncate(torn.offset)

    def start(self) -> None:
        """Start the thread."""
        self._host.start()
        self._thread.start()

    def put(self, waiting: Waiting) -> None:
        """Hand a line over; its answer comes when it is durable, or never will be."""
        self._queue.put(waiting)

    def stop(self) -> None:
        """Write what waits, seal, tell the host's log, and close the files. Blocks."""
        if self._thread.is_alive():
            self._queue.put(_Stop())
            self._thread.join()
        self._host.stop()
        self._table.close()
        self._file.close()

    def _run(self) -> None:
        gathered = _Gathered()
        while True:
            try:
                item = self._queue.get(timeout=self._patience(gathered))
            except queue.Empty:
                item = None
            if isinstance(item, Waiting):
                gathered.add(item, time.monotonic())
            stopping = self._gather(gathered) or isinstance(item, _Stop)
            if gathered.lines and (gathered.urgent or stopping or self._overdue(gathered)):
                self._flush(gathered.lines)
                gathered = _Gathered()
            elif self._seal_is_due():
                self._flush([])
            if stopping:
                self._last_seal()
                return

    def _gather(self, gathered: _Gathered) -> bool:
        """Take what has come meanwhile, up to a batch; tell whether the thread is to end."""
        while gathered.size < _BATCH_BYTES:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return False
            if isinstance(item, _Stop):
                return True
            gathered.add(item, time.monotonic())
        return False

    def _patience(self, gathered: _Gathered) -> float | None:
        """Return how many seconds to wait for something new; None waits until it comes."""
        now = time.monotonic()
        if gathered.lines:
            return max(0.0, gathered.since + LAZY_SECONDS - now)
        if self._unsealed and self.error is None:
            return max(0.0, self._sealed_at + self._sealing.seconds - now)
        return None

    def _overdue(self, gathered: _Gathered) -> bool:
        return gathered.size >= _BATCH_BYTES or time.monotonic() >= gathered.since + LAZY_SECONDS

    def _seal_is_due(self) -> bool:
        if self.error is not None or not self._unsealed:
            return False
        late = time.monotonic() >= self._sealed_at + self._sealing.seconds
        return late or self._unsealed >= self._sealing.entries

    def _flush(self, lines: list[Waiting]) -> None:
        closing = [line for line in lines if line.urgency is Urgency.CLOSING]
        ordinary = [line for line in lines if line.urgency is not Urgency.CLOSING]
        if ordinary or not closing:
            self._attempt(ordinary)
        if closing:
            self._attempt(closing, closing=True)

    def _attempt(self, lines: list[Waiting], *, closing: bool = False) -> None:
        refusal = self.refusal(closing=closing)
        answers: list[Receipt | LedgerError]
        if refusal is not None:
            answers = [refusal] * len(lines)
        else:
            try:
                answers = [*self._write(lines, closing=closing)]
            except (LedgerError, OSError) as error:
                self._failed(error)
                answers = [self.error or LedgerDeadError("the ledger has failed")] * len(lines)
        self._tell.answered(
            [
                (line.asker, answer)
                for line, answer in zip(lines, answers, strict=True)
                if line.asker is not None
            ]
        )

    def refusal(self, *, closing: bool = False) -> LedgerError | None:
        """Return why nothing is written any more; on a full disk the closing lines still are."""
        if self.error is None or (closing and isinstance(self.error, LedgerFullError)):
            return None
        return self.error

    def _write(self, lines: list[Waiting], *, closing: bool = False) -> list[Receipt]:
        """Write lines, and a seal where one is due, with one write and one sync.

        The tree takes their leaves when a seal needs it: nobody waits for it at every entry.
        """
        self._keep_openings(lines)
        seq, head = self._size, self._chain.head
        out: list[bytes] = []
        leaves: list[bytes] = []
        for line in lines:
            raw = join(seq + len(leaves), head, line.rest)
            head = leaf_hash(raw)
            out.append(raw)
            leaves.append(head)
        self._unsealed += len(lines)
        sealed = None
        if closing or self._seal_is_due():
            sealed = self._drafted(leaves)
            out.append(sealed.add(self._seal(sealed)))
        out.append(b"")
        self._file.append(b"\n".join(out), closing=closing)
        self._chain.head = head
        self._leaves += leaves
        if sealed is not None:
            self._chain, self._leaves = sealed, []
            self._sealed(sealed, closed=closing)
        return [Receipt(seq + place, leaf) for place, leaf in enumerate(leaves)]

    @property
    def _size(self) -> int:
        return self._chain.size + len(self._leaves)

    def _drafted(self, leaves: list[bytes]) -> Chain:
        """Return the chain with everything written so far, and with leaves that are about to be."""
        draft = self._chain.copy()
        for leaf in (*self._leaves, *leaves):
            draft.advance(leaf)
        return draft

    def _keep_openings(self, lines: list[Waiting]) -> None:
        openings = [opening for line in lines for opening in line.openings]
        if not openings:
            return
        for opening in openings:
            if opening.is_large():
                write_blob(self._files, opening)
        self._table.append(b"".join(opening.line() for opening in openings))

    def _seal(self, draft: Chain) -> bytes:
        note = sign(draft.checkpoint(self._sealing.origin).text(), [self._sealing.key])
        rest, _ = self._encoder.encode(LogSealed(epoch=self._sealing.epoch, note=note))
        return rest

    def _sealed(self, draft: Chain, *, closed: bool) -> None:
        self._closed = closed
        self._unsealed = 0
        self._sealed_at = time.monotonic()
        self._host.tell(
            SessionSealed(
                session=self._sealing.session,
                epoch=self._sealing.epoch,
                size=draft.size,
                root=draft.frontier.root().hex(),
                head=draft.head.hex(),
                closed=closed,
            )
        )
        if self._file.size >= self._sealing.segment_bytes and not closed:
            self._next_segment()

    def _next_segment(self) -> None:
        fresh = AppendFile(self._files.segment(self._segment + 1))
        fresh.reserve()
        self._file.close()
        self._file, self._segment = fresh, self._segment + 1

    def _last_seal(self) -> None:
        if self._unsealed and self.refusal(closing=True) is None:
            try:
                self._write_last_seal()
            except (LedgerError, OSError) as error:
                self._failed(error)

    def _write_last_seal(self) -> None:
        draft = self._drafted([])
        self._file.append(draft.add(self._seal(draft)) + b"\n", closing=True)
        self._chain, self._leaves = draft, []
        self._sealed(draft, closed=self._closed)

    def _failed(self, error: AuditError | OSError) -> None:
        if self.error is not None and not isinstance(self.error, LedgerFullError):
            return
        first = self.error is None
        if isinstance(error, OSError):
            error = spoken(error, self._files.events)
        self.error = error if isinstance(error, LedgerError) else LedgerError(str(error))
        if first:
            self._tell.failed(self.error)


def _open_table(files: SessionFiles) -> AppendFile:
    """Open the table of openings; a line that a crash has torn is ended, and readers pass over it."""
    table = AppendFile(files.openings, reserve_bytes=0)
    if table.size and not table.read_from(table.size - 1).endswith(b"\n"):
        table.append(b"\n")
    return table
