"""The file of a session's log: lines are chained, written and synced in batches, and sealed now and then.

Who writes when, and what happens after a failure, is told in ``writer``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from audit.appendfile import AppendFile
from audit.batch import Waiting
from audit.chain import Chain, join, leaf_hash
from audit.encode import Encoder
from audit.event import LogSealed
from audit.host import Receipt
from audit.host_event import SessionSealed
from audit.note import SignerKey, sign
from audit.openings import Opening, write_blob
from audit.segments import Torn
from audit.state import SessionFiles

SEAL_ENTRIES = 64
SEAL_SECONDS = 5.0
SEGMENT_BYTES = 64 * 1024 * 1024


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


@dataclass(frozen=True, slots=True)
class End:
    """Where a session's log ends, and goes on.

    Attributes:
        files: The session's files; whoever writes holds their lock.
        chain: Where the log stands.
        segment: The number of the file that is written now.
    """

    files: SessionFiles
    chain: Chain
    segment: int


class SealedFile:
    """A session's log, open at its end. Only one thread may use it at a time.

    Args:
        end: Where it ends.
        sealing: With what to seal.
        encoder: Encodes the seals.
        told: Told of each seal once it is durable.
    """

    def __init__(
        self, end: End, sealing: Sealing, encoder: Encoder, told: Callable[[SessionSealed], None]
    ) -> None:
        self._files = end.files
        self._chain = end.chain
        self._leaves: list[bytes] = []
        self._segment = end.segment
        self._sealing = sealing
        self._encoder = encoder
        self._told = told
        self._file = AppendFile(end.files.segment(end.segment))
        self._table = _open_table(end.files)
        self._sealed_at = time.monotonic()
        self._unsealed = 0
        self._closed = False

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

    def close(self) -> None:
        """Close the files."""
        self._table.close()
        self._file.close()

    @property
    def is_sealed(self) -> bool:
        """Tell whether a seal covers every line."""
        return not self._unsealed

    def seal_at(self) -> float | None:
        """Return the time of the monotonic clock at which a seal is due; None when all is sealed."""
        return self._sealed_at + self._sealing.seconds if self._unsealed else None

    def seal_is_due(self) -> bool:
        """Tell whether enough is unsealed, or has been for long enough."""
        sealing = self._sealing
        if self._unsealed >= sealing.entries:
            return True
        return self._unsealed > 0 and time.monotonic() >= self._sealed_at + sealing.seconds

    def write(self, lines: list[Waiting], *, closing: bool = False) -> list[Receipt]:
        """Write lines, and a seal where one is due, with one write and one sync.

        The tree takes their leaves when a seal needs it: nobody waits for it at every entry.

        Args:
            lines: What to write, in order.
            closing: True for the session's end, which is sealed at once and may use up the reserve.

        Raises:
            LedgerError: When it cannot be written.
        """
        seq, head = self._chain.frontier.size + len(self._leaves), self._chain.head
        out: list[bytes] = []
        leaves: list[bytes] = []
        receipts: list[Receipt] = []  # made before the sync: behind it, memory is cold, and everything slow
        openings: list[Opening] = []
        for place, line in enumerate(lines, start=seq):
            raw = join(place, head, line.rest)
            head = leaf_hash(raw)
            out.append(raw)
            leaves.append(head)
            receipts.append(Receipt(place, head))
            openings += line.openings
        if openings:
            self._keep(openings)
        self._unsealed += len(lines)
        sealed = None
        if closing or self.seal_is_due():
            sealed = self._drafted(leaves)
            out.append(sealed.add(self._seal(sealed)))
        out.append(b"")
        self._file.append(b"\n".join(out), closing=closing)
        self._chain.head = head
        self._leaves += leaves
        if sealed is not None:
            self._chain, self._leaves = sealed, []
            self._sealed(sealed, closed=closing)
        return receipts

    def seal_the_rest(self) -> None:
        """Seal what no seal covers yet, out of the reserve where it must be.

        Raises:
            LedgerError: When it cannot be written.
        """
        if not self._unsealed:
            return
        draft = self._drafted([])
        self._file.append(draft.add(self._seal(draft)) + b"\n", closing=True)
        self._chain, self._leaves = draft, []
        self._sealed(draft, closed=self._closed)

    def _drafted(self, leaves: list[bytes]) -> Chain:
        """Return the chain with everything written so far, and with leaves that are about to be."""
        draft = self._chain.copy()
        for leaf in (*self._leaves, *leaves):
            draft.advance(leaf)
        return draft

    def _keep(self, openings: list[Opening]) -> None:
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
        self._told(
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


def _open_table(files: SessionFiles) -> AppendFile:
    """Open the table of openings; a line that a crash has torn is ended, and readers pass over it."""
    table = AppendFile(files.openings, reserve_bytes=0)
    if table.size and not table.read_from(table.size - 1).endswith(b"\n"):
        table.append(b"\n")
    return table
