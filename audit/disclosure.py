"""Hold each commitment against what lies behind it: there, withheld on purpose, missing or changed."""

from contextlib import suppress

import orjson

from audit.errors import BrokenLedgerError
from audit.fields import Commitment
from audit.openings import Gone, Openings
from audit.verdict import Disclosed, Disclosure, Undisclosed
from audit.walk import gather_commitments


def disclosure_of(
    commitments: set[str], moved: set[str], openings: Openings, withheld: set[str]
) -> Disclosure:
    """Return whether there is a value behind every commitment, each value read and let go.

    Args:
        commitments: What the entries hold; what bodies elsewhere hold is added.
        moved: Those of bodies that were moved out of their lines.
        openings: What the session keeps.
        withheld: What was deleted on purpose, as the host's log records.
    """
    opened = accounted = proofs = 0
    missing, changed = [], []
    waiting = sorted(commitments)
    for digest in waiting:  # a body that was moved out holds more of them, which are put behind it
        try:
            value = openings.value(Commitment(digest=digest, size=openings.size_of(digest)))
        except BrokenLedgerError:
            changed.append(digest)
            continue
        if not isinstance(value, Gone):
            opened += 1
            within = _within(value) - commitments if digest in moved else set()
            commitments |= within
            waiting += sorted(within)
        elif value.never_kept:
            proofs += 1
        elif digest in withheld:
            accounted += 1
        else:
            missing.append(digest)
    if missing or changed:
        return Undisclosed(tuple(missing), tuple(changed))
    return Disclosed(opened, accounted, proofs)


def _within(value: bytes) -> set[str]:
    """Return the commitments in a body that was moved out; what is no body of a writer's holds none."""
    found: set[str] = set()
    with suppress(orjson.JSONDecodeError):
        gather_commitments(orjson.loads(value), found)
    return found
