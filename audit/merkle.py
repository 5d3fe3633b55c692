"""The tree of RFC 6962 over leaf hashes: roots, proofs that an entry is in it, proofs that it only ever grew.

Only hashes come in here; what a leaf is made of is the business of ``chain``.
"""

from collections.abc import Sequence
from hashlib import sha256

from audit.errors import BadProofError

EMPTY_ROOT = sha256(b"").digest()
_BEGUN = sha256(b"\x01")
"""What each inner node's hash begins with; a copy of it is made faster than a hash of its own."""


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962 section 2.1)."""
    found = _BEGUN.copy()
    found.update(left + right)
    return found.digest()


class Frontier:
    """The right edge of a growing tree: enough to add a leaf and to tell the root, in logarithmic room.

    Args:
        size: Leaves so far.
        peaks: The roots of the perfect subtrees that make up the tree, largest first.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise BadProofError(
                f"a tree of `{size}` leaves has {size.bit_count()} peaks, found `{len(peaks)}`"
            )
        self.size = size
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf at the right."""
        size, peaks = self.size, self.peaks
        self.size = size + 1
        while size & 1:
            leaf = node(peaks.pop(), leaf)
            size >>= 1
        peaks.append(leaf)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaves at the right: the same as one after the other, all nodes of a level at once."""
        size, row, smallest_first = self.size, list(leaves), []
        self.size += len(row)
        while row:
            if size & 1:
                row.insert(0, self.peaks.pop())
            if len(row) & 1:
                smallest_first.append(row.pop())
            row = _above(row)
            size >>= 1
        self.peaks += reversed(smallest_first)

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node(peak, root)
        return root

    def copy(self) -> "Frontier":
        """Return a frontier that can grow on its own."""
        return Frontier(self.size, self.peaks)


def _above(row: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above an even number of nodes of one level."""
    found, begun = [], _BEGUN.copy
    for left, right in zip(*[iter(row)] * 2, strict=True):  # as `node` does, a call less for each
        above = begun()
        above.update(left + right)
        found.append(above.digest())
    return found


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the leaves."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of one leaf (RFC 6962 section 2.1.1), nearest sibling first.

    Args:
        leaves: All leaf hashes of the tree.
        index: The leaf's place, counted from 0.

    Raises:
        BadProofError: When there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise BadProofError(f"entry `{index}` is not in a tree of {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root_of(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root_of(leaves[:split])]


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is at its place in the tree with that root (RFC 9162 section 2.1.3.2).

    Raises:
        BadProofError: When the path leads anywhere else, or has another length than the place demands.
    """
    if not 0 <= index < size:
        raise BadProofError(f"entry `{index}` is not in a tree of {size}")
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise BadProofError("the proof is longer than the tree is deep")
        if place & 1 or place == last:
            found = node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or found != root:
        raise BadProofError(f"the proof of entry `{index}` does not lead to the root")


def consistency_proof(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """Return the proof that the first `size` leaves made a tree that this one begins with (RFC 6962, 2.1.2).

    Raises:
        BadProofError: When `size` is not between 1 and the number of leaves.
    """
    if not 0 < size <= len(leaves):
        raise BadProofError(f"no tree of `{size}` within one of {len(leaves)}")
    return _consistency(leaves, size, whole=True)


def _consistency(leaves: Sequence[bytes], size: int, *, whole: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = _split(len(leaves))
    if size <= split:
        return [*_consistency(leaves[:split], size, whole=whole), root_of(leaves[split:])]
    return [*_consistency(leaves[split:], size - split, whole=False), root_of(leaves[:split])]


def check_consistency(  # noqa: C901 - the algorithm of RFC 9162, step by step as it stands there
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the newer tree begins with the older one (RFC 9162 section 2.1.4.2).

    Raises:
        BadProofError: When it does not, or when the proof has another length than the sizes demand.
    """
    if not 0 < old_size <= new_size:
        raise BadProofError(f"a tree of `{new_size}` cannot have grown from one of `{old_size}`")
    if old_size == new_size:
        if path or old_root != new_root:
            raise BadProofError(f"two different trees of `{new_size}` entries")
        return
    steps = [old_root, *path] if old_size.bit_count() == 1 else list(path)
    if not steps:
        raise BadProofError("the proof of consistency is empty")
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise BadProofError("the proof is longer than the tree is deep")
        if place & 1 or place == last:
            first, second = node(step, first), node(step, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node(second, step)
        place, last = place >> 1, last >> 1
    if last != 0 or first != old_root or second != new_root:
        raise BadProofError(f"the tree of `{new_size}` entries did not grow from the one of `{old_size}`")


def _split(size: int) -> int:
    """Return the largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1
