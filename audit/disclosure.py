"""Hold each commitment against what lies behind it: there, withheld on purpose, missing or changed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import orjson

from audit.decoded import commitments_of
from audit.digests import Digests
from audit.errors import BrokenLedgerError
from audit.openings import Gone, Openings
from audit.schema import LARGEST_BODY
from audit.state import SessionFiles
from audit.verdict import Disclosed, Disclosure, Undisclosed
from audit.walk import Walk


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
        openings = Openings(files)
    except BrokenLedgerError:
        return Undisclosed((), tuple(walk.commitments))
    count = _Count(walk, openings, withheld)
    with _kept_open(openings):
        for digest in walk.commitments:
            count.take(digest)
        for digest in count.within:
            if digest not in walk.commitments:
                count.take(digest)
    return count.verdict()


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

    def __init__(self, walk: Walk, openings: Openings, withheld: set[str]) -> None:
        self.within = Digests()
        self._walk = walk
        self._openings = openings
        self._withheld = withheld
        self._opened = self._accounted = self._proofs = 0
        self._missing: list[str] = []
        self._changed: list[str] = []

    def take(self, digest: str) -> None:
        """Look for the value behind a commitment."""
        try:
            value = self._openings.claimed(digest)
            if digest in self._walk.moved:
                self.within.update(commitments_within(value))
        except BrokenLedgerError:
            self._changed.append(digest)
            return
        if not isinstance(value, Gone):
            self._opened += 1
        elif value.never_kept and digest in self._walk.proofs:
            self._proofs += 1
        elif digest in self._withheld:
            self._accounted += 1
        else:
            self._missing.append(digest)

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
