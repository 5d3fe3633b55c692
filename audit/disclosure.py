"""Hold each commitment against what lies behind it: there, withheld on purpose, missing or changed."""

from contextlib import suppress

import orjson

from audit.errors import BrokenLedgerError
from audit.openings import Gone, Openings
from audit.schema import LARGEST_BODY
from audit.state import SessionFiles
from audit.verdict import Disclosed, Disclosure, Undisclosed
from audit.walk import Walk, gather_commitments


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
        return Undisclosed((), tuple(sorted(walk.commitments)))
    known = set(walk.commitments)
    opened = accounted = proofs = 0
    missing, changed = [], []
    waiting = sorted(known)
    for digest in waiting:  # a body that was moved out holds more of them, which are put behind it
        try:
            value = openings.claimed(digest)
            within = commitments_within(value) - known if digest in walk.moved else set()
        except BrokenLedgerError:
            changed.append(digest)
            continue
        if not isinstance(value, Gone):
            opened += 1
            known |= within
            waiting += sorted(within)
        elif value.never_kept and digest in walk.proofs:
            proofs += 1
        elif digest in withheld:
            accounted += 1
        else:
            missing.append(digest)
    if missing or changed:
        return Undisclosed(tuple(missing), tuple(changed))
    return Disclosed(opened, accounted, proofs)


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
        gather_commitments(orjson.loads(value), found)
    return found
