"""What verifying can say: five separate verdicts, each a closed union, with words for people."""

from dataclasses import dataclass

from audit.completeness import (
    Closed,
    Completeness,
    Crashed,
    Endless,
    Missing,
    Open,
    Pruned,
    Truncated,
    Unknown,
)
from audit.errors import BrokenLedgerError

__all__ = [
    "Anchored",
    "Authenticity",
    "Broken",
    "Closed",
    "Completeness",
    "Crashed",
    "Disclosed",
    "Disclosure",
    "Endless",
    "Forged",
    "Freshness",
    "Intact",
    "Integrity",
    "Missing",
    "Open",
    "Pinned",
    "Pruned",
    "RolledBack",
    "SelfClaimed",
    "Truncated",
    "Unanchored",
    "Undisclosed",
    "Unknown",
    "Unsigned",
    "Verification",
]

# Integrity: does every line hold?


@dataclass(frozen=True, slots=True)
class Intact:
    """Every line holds.

    Attributes:
        entries: How many there are.
        unsealed: How many at the end no seal covers: held by the chain only.
        pruned: How many at the beginning were deleted on purpose: of them only the proof is there.
    """

    entries: int
    unsealed: int
    pruned: int = 0

    def __str__(self) -> str:
        gone = f", the first {self.pruned} of them deleted on purpose" if self.pruned else ""
        tail = f", the last {self.unsealed} not sealed" if self.unsealed else ""
        return f"ok: {self.entries} entries{gone}{tail}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A line does not hold.

    Attributes:
        first: The first entry that may be bad.
        last: The entry at which it was seen; the same where the fault is plain.
        why: In a few words.
        good: Entries before it that a seal covers, and that are therefore still good.
    """

    first: int
    last: int
    why: str
    good: int

    def __str__(self) -> str:
        place = f"entry {self.first}" if self.first == self.last else f"entry {self.first} to {self.last}"
        return f"broken at {place}: {self.why}; {self.good} entries before it are sealed and good"


# Authenticity: who says so?


@dataclass(frozen=True, slots=True)
class Pinned:
    """The host's log is signed by the key that the reader pinned, or by one that it vouched for.

    Attributes:
        key: The key's name.
    """

    key: str

    def __str__(self) -> str:
        return f"signed by the pinned key `{self.key}`"


@dataclass(frozen=True, slots=True)
class SelfClaimed:
    """The host's log is signed by the key that lies beside it: it agrees with itself, and that is all.

    Attributes:
        key: The key's name.
    """

    key: str

    def __str__(self) -> str:
        return f"self-claimed by `{self.key}`: consistent with itself; pin a key to know more"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The host's log does not know the session.

    Attributes:
        why: In a few words.
    """

    why: str

    def __str__(self) -> str:
        return f"unsigned: {self.why}"


@dataclass(frozen=True, slots=True)
class Forged:
    """The signatures do not hold, or are not of the pinned key.

    Attributes:
        why: In a few words.
    """

    why: str

    def __str__(self) -> str:
        return f"not authentic: {self.why}"


# Freshness: is it the newest?


@dataclass(frozen=True, slots=True)
class Anchored:
    """A checkpoint that was kept elsewhere fits.

    Attributes:
        through: Entries of this log that it covers.
        host_size: Entries of the host's log that it covers.
        pruned_since: Whether entries were deleted on purpose that were there when it was made.
    """

    through: int
    host_size: int
    pruned_since: bool = False

    def __str__(self) -> str:
        since = "; pruned after that checkpoint" if self.pruned_since else ""
        return f"anchored through {self.through} entries by a checkpoint kept elsewhere{since}"


@dataclass(frozen=True, slots=True)
class Unanchored:
    """No checkpoint from elsewhere was given: an older state could not be told from this one."""

    def __str__(self) -> str:
        return "not anchored: a rollback of everything would not be seen"


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A checkpoint that was kept elsewhere does not fit.

    Attributes:
        why: In a few words.
    """

    why: str

    def __str__(self) -> str:
        return f"rolled back or rewritten: {self.why}"


# Disclosure: is there a value behind every commitment?


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What is not there was withheld on purpose, and is accounted for.

    Attributes:
        opened: Commitments whose values are there and fit.
        withheld: Commitments whose values were withheld on purpose.
        sealed_only: Commitments of which only the salt was ever kept.
    """

    opened: int
    withheld: int
    sealed_only: int

    def __str__(self) -> str:
        kept = f", {self.sealed_only} kept as proofs only" if self.sealed_only else ""
        return f"{self.opened} bodies there, {self.withheld} withheld and accounted for{kept}"


@dataclass(frozen=True, slots=True)
class Undisclosed:
    """Values are gone or changed, and nothing accounts for it.

    Attributes:
        missing: The commitments whose values are gone.
        changed: The commitments whose values are not what was committed to.
    """

    missing: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.missing)} bodies missing, {len(self.changed)} changed, not accounted for"


Integrity = Intact | Broken
Authenticity = Pinned | SelfClaimed | Unsigned | Forged
Freshness = Anchored | Unanchored | RolledBack
Disclosure = Disclosed | Undisclosed

_BAD = (Broken, Truncated, Missing, Forged, RolledBack, Undisclosed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The five verdicts on one log.

    Attributes:
        log: The session's id, or `host`.
        integrity: Does every line hold?
        completeness: Is the end the end?
        authenticity: Who says so?
        freshness: Is it the newest?
        disclosure: Is there a value behind every commitment?
    """

    log: str
    integrity: Integrity
    completeness: Completeness
    authenticity: Authenticity
    freshness: Freshness
    disclosure: Disclosure

    def verdicts(self) -> dict[str, str]:
        """Return the verdicts in words, by name."""
        return {
            "integrity": str(self.integrity),
            "completeness": str(self.completeness),
            "authenticity": str(self.authenticity),
            "freshness": str(self.freshness),
            "disclosure": str(self.disclosure),
        }

    def faults(self) -> dict[str, str]:
        """Return the verdicts that are bad, by name; empty when none is."""
        found = {
            "integrity": self.integrity,
            "completeness": self.completeness,
            "authenticity": self.authenticity,
            "freshness": self.freshness,
            "disclosure": self.disclosure,
        }
        return {name: str(verdict) for name, verdict in found.items() if isinstance(verdict, _BAD)}

    def check(self) -> None:
        """Check that no verdict is bad.

        Raises:
            BrokenLedgerError: When one is; `seq` is the first bad entry where there is one.
        """
        faults = self.faults()
        if faults:
            seq = self.integrity.first if isinstance(self.integrity, Broken) else None
            words = "; ".join(f"{name} {words}" for name, words in faults.items())
            raise BrokenLedgerError(f"the ledger `{self.log}` does not verify: {words}", seq=seq)
