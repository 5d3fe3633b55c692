"""What the host's log says of one session; nothing that was said is unsaid by a later line.

How the host's log itself is read and verified is in ``index``.
"""

from dataclasses import dataclass, field

from audit.errors import BrokenLedgerError
from audit.host_event import SegmentPruned, SessionRegistered, SessionReopened
from audit.merkle import Frontier


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
