"""Hold each commitment against what lies behind it: there, withheld on purpose, missing or changed."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256

import orjson

from audit.decoded import commitments_of
from audit.digests import Ascending, Digests
from audit.errors import BrokenLedgerError
from audit.openings import Gone, Openings
from audit.schema import LARGEST_BODY
from audit.state import SessionFiles
from audit.table import NOTES, inline, is_apart, places_in, salt_in
from audit.verdict import Disclosed, Disclosure, Undisclosed
from audit.walk import Walk

_GONE, _THERE, _NEVER_KEPT, _CHANGED, _APART = range(5)
"""What is noted of a line of the table: what came of its value, but for one that is in a file of its own."""


def disclosure_of(walk: Walk, files: SessionFiles, withheld: set[str]) -> Disclosure:
    """Return whether there is a value behind every commitment, each value read and let go.

    That only the salt was ever kept is believed of a commitment whose entry says that it may be so, for the
    table of openings is not chained.

    Args:
        walk: What the entries hold.
        files: The session's files.
        withheld: What was deleted on purpose, as the host's log records.
    """
    try:
        places = places_in(files.openings, _noted)
    except BrokenLedgerError:
        return Undisclosed((), tuple(walk.commitments))
    count = _Count(walk, withheld)
    openings = Openings(files, places)
    with _kept_open(openings):
        count.take_all(walk.commitments, openings, places)
        count.take_all(count.within, openings, places, but=walk.commitments)
    return count.verdict()


def _noted(digest: str, fields: Mapping[str, object]) -> int:
    """Return what came of the value of a line of the table."""
    salt = salt_in(fields)
    if salt is None:
        return _GONE
    if fields.get("kept") is False:
        return _NEVER_KEPT
    try:
        value = inline(fields, digest)
    except BrokenLedgerError:
        return _CHANGED
    if value is None:
        return _APART if is_apart(fields) else _GONE
    return _THERE if sha256(salt + value).hexdigest() == digest else _CHANGED


@contextmanager
def _kept_open(openings: Openings) -> Iterator[None]:
    """Keep the table open meanwhile, if there is one: where there is none, nothing is read from it."""
    with ExitStack() as stack:
        with suppress(BrokenLedgerError):
            stack.enter_context(openings.kept_open())
        yield


class _Count:
    """What became of the values so far.

    Attributes:
        within: The commitments in bodies that were moved out.
    """

    def __init__(self, walk: Walk, withheld: set[str]) -> None:
        self.within = Digests()
        self._walk = walk
        self._withheld = withheld
        self._opened = self._accounted = self._proofs = 0
        self._missing: list[str] = []
        self._changed: list[str] = []

    def take_all(
        self, digests: Digests, openings: Openings, places: Digests, *, but: Digests | None = None
    ) -> None:
        """Look for the values behind commitments.

        Args:
            digests: The commitments.
            openings: Reads what has to be read.
            places: What the table has, and what was noted of it.
            but: Those of them that were taken before.
        """
        numbers, moved, proofs = Ascending(places), Ascending(self._walk.moved), Ascending(self._walk.proofs)
        before = Ascending(Digests() if but is None else but)
        for digest, _ in digests.numbered():
            if before.number_of(digest) is not None:
                continue
            number = numbers.number_of(digest)
            noted = _GONE if number is None else number % NOTES
            is_moved = moved.number_of(digest) is not None
            if noted == _APART or (is_moved and noted == _THERE):
                noted = self._read(digest.hex(), openings, is_moved=is_moved)
            self._take(digest, noted, proofs)

    def _read(self, digest: str, openings: Openings, *, is_moved: bool) -> int:
        """Return what came of a value, read from where it is; take down what a body commits to."""
        try:
            value = openings.claimed(digest)
            if is_moved:
                self.within.update(commitments_within(value))
        except BrokenLedgerError:
            return _CHANGED
        return _GONE if isinstance(value, Gone) else _THERE

    def _take(self, digest: bytes, noted: int, proofs: Ascending) -> None:
        if noted == _THERE:
            self._opened += 1
        elif noted == _CHANGED:
            self._changed.append(digest.hex())
        elif noted == _NEVER_KEPT and proofs.number_of(digest) is not None:
            self._proofs += 1
        elif digest.hex() in self._withheld:
            self._accounted += 1
        else:
            self._missing.append(digest.hex())

    def verdict(self) -> Disclosure:
        """Return what there is to say of them all."""
        if self._missing or self._changed:
            return Undisclosed(tuple(self._missing), tuple(self._changed))
        return Disclosed(self._opened, self._accounted, self._proofs)


def commitments_within(value: bytes | Gone) -> set[str]:
    """Return the commitments in a body that was moved out; what is no body of a writer's holds none.

    Raises:
        BrokenLedgerError: When it is longer than any writer's.
    """
    found: set[str] = set()
    if isinstance(value, Gone):
        return found
    if len(value) > LARGEST_BODY:
        raise BrokenLedgerError(f"a body of {len(value)} bytes is longer than {LARGEST_BODY}")
    with suppress(orjson.JSONDecodeError):
        found.update(commitments_of(orjson.loads(value)))
    return found
