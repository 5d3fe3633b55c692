"""Remember which entry was handed out last, and hold a second look against it.

A file that was changed and put back between two looks must not have its forgery handed out and then covered
by what is true: the second look has to come by the very entry that the first one ended with.
"""

from typing import TYPE_CHECKING

from audit.walk import BrokenWalkError

if TYPE_CHECKING:
    from audit.host_event import SegmentPruned


class Bookmark:
    """The last entry that was handed out; at first none.

    Attributes:
        seq: Its place; -1 where there is none.
        leaf: Its leaf, which stands for everything before it.
    """

    def __init__(self) -> None:
        self.seq = -1
        self.leaf = b""
        self._is_held = True

    def move(self, seq: int, leaf: bytes) -> None:
        """Remember another entry, which is handed out now."""
        self.seq, self.leaf = seq, leaf

    def look_again(self, pruned: "SegmentPruned | None" = None) -> bool:
        """Begin another look, which has to come by the entry again; tell whether it can.

        Args:
            pruned: What was deleted on purpose, as is known now. Where it ends with the entry, it names the
                entry's leaf; where it ends behind it, nothing shows any more what stood there.
        """
        gone = pruned is not None and pruned.size > self.seq >= 0
        ends_here = pruned is not None and (pruned.size, pruned.head) == (self.seq + 1, self.leaf.hex())
        self._is_held = self.seq < 0 or ends_here
        return self._is_held or not gone

    def is_behind(self, seq: int, leaf: bytes) -> bool:
        """Tell whether an entry stands behind the last that was handed out.

        Raises:
            BrokenWalkError: When another stands now in that one's place.
        """
        if seq == self.seq and leaf == self.leaf:
            self._is_held = True
        if seq >= self.seq:
            self.require_held()
        return seq > self.seq

    def require_held(self) -> None:
        """Check that the look has come by the entry.

        Raises:
            BrokenWalkError: When it has not.
        """
        if not self._is_held:
            raise BrokenWalkError(self.seq, self.seq, "it is another than was read a moment ago")
