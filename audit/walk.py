"""Walk a session's lines from the first to the last and hold each against everything that binds it.

What binds a line: its place and predecessor, its exact spelling, the seals in the file, the roots that the
host's log knows, the keys that the host's log registered. This is the hot path of `audit verify`.
"""

from binascii import hexlify
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple, Self

from audit.bound import Bound
from audit.chain import Chain, leaf_hashes, opening, strict
from audit.decoded import commitments_of, decoded
from audit.digests import Digests
from audit.errors import AuditError, BrokenLedgerError, MalformedLineError
from audit.escape import escape_line
from audit.note import Checkpoint, VerifierKey, open_checkpoint
from audit.spelling import ACTING, Spelled, Spellings, commitments_in, row_of

_MOVED_OUT = {"overflow"}
_KEPT_AS_PROOF = ("model.asked", "messages")
"""The type and the field that may keep a salt only: the messages have entries of their own."""
AT_ONCE = 64
"""Lines in a row: about what a processor's first cache holds, for a row is gone over more than once."""
BEGINNING = b'{"seq":%d,"prev":"%b",'
BEHIND_THE_END = "it stands behind the session's sealed end"


class BrokenWalkError(BrokenLedgerError):
    """Raised when a line does not hold.

    Attributes:
        first: The first entry that may be bad.
        last: The entry at which it was seen.
        why: In a few words.
    """

    def __init__(self, first: int, last: int, why: str) -> None:
        place = f"entry {first}" if first == last else f"between entry {first} and entry {last}"
        super().__init__(f"{place}: {why}", seq=first)
        self.first = first
        self.last = last
        self.why = why


class Deed(NamedTuple):
    """What a line says that changes what the lines behind it are held against.

    Attributes:
        seq: Its place.
        kind: Its type.
        body: Its body.
    """

    seq: int
    kind: str
    body: object


class Walk:
    """The state of a walk; `feed` it blocks of lines.

    Args:
        bound: What is known from outside.
        chain: Where to begin: the start of the log, or where its pruned part ended.
        epoch: The key's epoch there; 0 before the first line.
        collect: Whether to gather the commitments that the entries hold.
        spellings: What tells most lines quickly; None for fresh ones.
    """

    def __init__(
        self,
        bound: Bound,
        chain: Chain,
        *,
        epoch: int = 0,
        collect: bool = True,
        spellings: Spellings | None = None,
    ) -> None:
        self.bound = bound
        self.chain = chain
        self.epoch = epoch
        self.sealed_size = chain.size
        self._agreed_size = chain.size
        self.last_kind = ""
        self.commitments = Digests()
        self.moved = Digests()
        self.proofs = Digests()
        self._collect = collect
        self._leaves: list[bytes] = []
        self._spellings = Spellings() if spellings is None else spellings
        self._vkey = VerifierKey.parse(bound.vkeys[epoch]) if epoch in bound.vkeys else None

    def feed(self, lines: Sequence[bytes]) -> None:
        """Take the next lines.

        Raises:
            BrokenWalkError: At the first that does not hold.
        """
        try:
            for start in range(0, len(lines), AT_ONCE):
                self._feed(lines[start : start + AT_ONCE])
        finally:
            self._settle()

    def take(self, leaves: Sequence[bytes], deeds: Sequence[Deed]) -> None:
        """Take the next lines, of which was seen that they follow each other, and how each is spelled.

        Args:
            leaves: Theirs.
            deeds: What some of them say, in order.

        Raises:
            BrokenWalkError: When something of it does not hold.
        """
        first, done, said = self._size(), 0, {deed.seq: deed for deed in deeds}
        if first + len(leaves) > self.bound.last_size():
            raise self.behind_the_end()
        try:
            for place in range(len(leaves)):
                seq = first + place
                if seq in said or seq + 1 in self.bound.roots:
                    self._leaves += leaves[done:place]
                    if seq in said:
                        self._settle()
                        self._take_special(said[seq].kind, said[seq].body, seq)
                    self._leaves.append(leaves[place])
                    done = place + 1
                    self._hold_to_roots(seq + 1)
            self._leaves += leaves[done:]
        finally:
            self._settle()

    def twin(self) -> Self:
        """Return a walk that stands here and goes on by itself; what both gather is one."""
        found = copy(self)
        found.chain = self.chain.copy()
        return found

    def has_ended(self) -> bool:
        """Tell whether the host knows this as the sealed end: nothing may follow, torn or whole."""
        return self._size() == self.bound.end

    def behind_the_end(self) -> BrokenWalkError:
        """Return what is said where something follows all the same."""
        return BrokenWalkError(self._size(), self._size(), BEHIND_THE_END)

    def _size(self) -> int:
        """Return how many lines were taken."""
        return self.chain.size + len(self._leaves)

    def _settle(self) -> None:
        """Let the tree take the leaves that wait for it: in rows, for that is quicker than one by one."""
        if self._leaves:
            self.chain.extend(self._leaves)
            self._leaves.clear()

    def _feed(self, lines: Sequence[bytes]) -> None:
        """Take a row of lines: hashed all at once, one by one only where there is something to do."""
        first, leaves = self._size(), leaf_hashes(lines)
        head = self._leaves[-1] if self._leaves else self.chain.head
        heads = hexlify(b"".join([head, *leaves[:-1]]), b",", len(head)).split(b",")
        starts = [BEGINNING % place for place in zip(range(first, first + len(lines)), heads, strict=True)]
        follow = list(map(bytes.startswith, lines, starts))
        row, done = row_of(self._spellings, lines, list(map(len, starts))), 0
        for stop in self._places(row, follow):
            self._pass(lines[done:stop], leaves[done:stop], row[done:stop])
            self._take_one(lines[stop], row[stop], follows=follow[stop])
            self._leaves.append(leaves[stop])
            done = stop + 1
            self._hold_to_roots(first + done)
        self._pass(lines[done:], leaves[done:], row[done:])

    def _places(self, row: Sequence[Spelled | None], follow: Sequence[bool]) -> list[int]:
        """Return the places in a row where a line does not follow, or does more than to follow."""
        first, end = self._size(), self.bound.last_size()
        found = {place for place, one in enumerate(row) if one is None}
        found.update(place for place in range(len(row)) if first + place + 1 in self.bound.roots)
        found.update(range(max(0, end - first), len(row)))
        if not all(follow):
            found.add(follow.index(False))
        return sorted(found)

    def _pass(self, lines: Sequence[bytes], leaves: Sequence[bytes], row: Sequence[Spelled | None]) -> None:
        """Move on past lines that do no more than to follow, and to hold commitments."""
        self._leaves += leaves
        if row and row[-1] is not None:
            self.last_kind = row[-1].kind
        if self._collect:
            self._gather(lines, row)

    def _take_one(self, line: bytes, spelled: Spelled | None, *, follows: bool) -> None:
        seq = self._size()
        if seq >= self.bound.last_size():
            raise self.behind_the_end()
        if not follows:
            raise self._refused(line, seq)
        if spelled is None:
            self._take_slowly(line, seq)
            return
        self._pass([line], [], [spelled])

    def _take_slowly(self, line: bytes, seq: int) -> None:
        """Take a line that begins as it must: whether it holds, what it does to the walk, what it holds."""
        fields = decoded(line)
        if fields is None:
            raise self._refused(line, seq)
        kind = fields.type
        if kind in ACTING:
            self._settle()
            self._take_special(kind, fields.body, seq)
        if kind != "log.sealed":
            self.last_kind = kind
        if self._collect and b'{"digest":"' in line:
            self.commitments.update(commitments_of(fields.body))
            if fields.body.keys() == _MOVED_OUT:
                self.moved.update(commitments_of(fields.body))
            elif kind == _KEPT_AS_PROOF[0]:
                self.proofs.update(commitments_of(fields.body.get(_KEPT_AS_PROOF[1])))

    def _gather(self, lines: Sequence[bytes], row: Sequence[Spelled | None]) -> None:
        """Take in the commitments of lines that were told quickly: their schemas have them in the body."""
        holding = [
            (line, one.kind) for line, one in zip(lines, row, strict=True) if one is not None and one.commits
        ]
        self.commitments.update(commitments_in(b"\n".join(line for line, _ in holding)))
        self.proofs.update(
            commitments_in(b"\n".join(line for line, kind in holding if kind == _KEPT_AS_PROOF[0]))
        )

    def _hold_to_roots(self, size: int) -> None:
        """Hold the tree to the root that the host's log knows at this size, if it knows one."""
        if size in self.bound.roots:
            self._settle()
            self._hold_to_host(self.chain.frontier.root() == self.bound.roots[size], size)

    def _hold_to_host(self, agrees: bool, size: int) -> None:  # noqa: FBT001 - the outcome of a comparison
        if not agrees:
            raise BrokenWalkError(self._agreed_size, size - 1, "it is not what the host's log has sealed")
        self._agreed_size = size

    def _refused(self, line: bytes, seq: int) -> BrokenWalkError:
        """Say what is wrong with a line that does not hold."""
        self._settle()
        if not line.startswith(opening(seq, self.chain.head)):
            return self._unlinked(line, seq)
        try:
            strict(line)
        except MalformedLineError as error:
            return BrokenWalkError(seq, seq, str(error))
        return self._unlinked(line, seq)

    def _unlinked(self, line: bytes, seq: int) -> BrokenWalkError:
        if seq and line.startswith(b'{"seq":%d,"prev":"' % seq):
            return BrokenWalkError(seq - 1, seq, "the entry after it names another predecessor")
        return BrokenWalkError(seq, seq, "it does not follow the entry before it")

    def _take_special(self, kind: str, body: object, seq: int) -> None:
        match kind, body:
            case "log.opened", {"session": str(session), "epoch": 1, "vkey": str(vkey)} if seq == 0:
                self._begin_epoch(session, 1, vkey, seq)
            case "session.recovered", {"session": str(session), "epoch": int(epoch), "vkey": str(vkey)}:
                if epoch != self.epoch + 1:
                    raise BrokenWalkError(seq, seq, f"epoch {epoch} does not follow epoch {self.epoch}")
                self._begin_epoch(session, epoch, vkey, seq)
            case "log.sealed", {"epoch": int(epoch), "note": str(note)}:
                self._take_seal(epoch, note, seq)
            case _:
                raise BrokenWalkError(seq, seq, f"`{kind}` is malformed or out of place")

    def _begin_epoch(self, session: str, epoch: int, vkey: str, seq: int) -> None:
        if not self.bound.origin.endswith(f"/{session}"):
            raise BrokenWalkError(seq, seq, f"it belongs to session `{escape_line(session, width=20)}`")
        if self.bound.vkeys and self.bound.vkeys.get(epoch) != vkey:
            raise BrokenWalkError(seq, seq, "its key is not the one that the host's log registered")
        try:
            self._vkey = VerifierKey.parse(vkey)
        except AuditError as error:
            raise BrokenWalkError(seq, seq, str(error)) from error
        self.epoch = epoch

    def _take_seal(self, epoch: int, note: str, seq: int) -> None:
        if epoch != self.epoch or self._vkey is None:
            raise BrokenWalkError(self.sealed_size, seq, f"it is sealed by epoch {epoch}, not {self.epoch}")
        try:
            found = open_checkpoint(note, self._vkey)
        except AuditError as error:
            raise BrokenWalkError(self.sealed_size, seq, f"the seal does not hold: {error}") from error
        if not self._is_signed(found, seq):
            raise BrokenWalkError(self.sealed_size, seq, "the seal signs another log")
        self.sealed_size = seq + 1

    def _is_signed(self, found: Checkpoint, seq: int) -> bool:  # noqa: ARG002 - a skim asks for less
        return found == self.chain.checkpoint(self.bound.origin)
