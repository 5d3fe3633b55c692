"""What verifying can say of a log's end: closed, open, crashed, truncated, missing, pruned."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Closed:
    """The session recorded its end, and a seal covers it.

    Attributes:
        told: Whether the host's log knows of it. It does not where the runner could not tell it any more,
            or where the host's log alone was rolled back.
    """

    told: bool = True

    def __str__(self) -> str:
        return "closed" if self.told else "closed; the host's log does not know of it"


@dataclass(frozen=True, slots=True)
class Open:
    """A writer holds the log at this moment."""

    def __str__(self) -> str:
        return "open: a writer is at work"


@dataclass(frozen=True, slots=True)
class Endless:
    """The host's log, which is never closed: a checkpoint covers it to its last line."""

    def __str__(self) -> str:
        return "whole up to its checkpoint; the host's log has no end"


@dataclass(frozen=True, slots=True)
class Crashed:
    """No writer, and no end: the runner died, or the tail is gone where no seal could tell.

    Attributes:
        torn_bytes: Bytes of a last line that was never finished.
    """

    torn_bytes: int

    def __str__(self) -> str:
        torn = f", {self.torn_bytes} bytes of a torn line" if self.torn_bytes else ""
        return f"crashed: no end is recorded{torn}"


@dataclass(frozen=True, slots=True)
class Truncated:
    """The host's log knows of more entries than there are.

    Attributes:
        found: Entries that are there.
        known: Entries that the host's log knows of.
    """

    found: int
    known: int

    def __str__(self) -> str:
        return f"truncated: {self.found} entries of at least {self.known}"


@dataclass(frozen=True, slots=True)
class Missing:
    """The host's log knows the session, and its file is gone.

    Attributes:
        known: Entries that the host's log knows of.
    """

    known: int

    def __str__(self) -> str:
        return f"missing: the session's log of at least {self.known} entries is gone"


@dataclass(frozen=True, slots=True)
class Pruned:
    """Everything was deleted on purpose, as the host's log records.

    Attributes:
        entries: How many entries are gone.
    """

    entries: int

    def __str__(self) -> str:
        return f"pruned: {self.entries} entries were deleted on purpose"


@dataclass(frozen=True, slots=True)
class Unknown:
    """As many entries are there as have to be, and one that does not hold stands before the end."""

    def __str__(self) -> str:
        return "not known: what stands behind a broken entry is not believed"


Completeness = Closed | Open | Endless | Crashed | Truncated | Missing | Pruned | Unknown
