"""What the journal itself writes into a session's log: its beginning, its seals, who took it up again."""

from audit.fields import Count, Digest, Event


class LogOpened(Event):
    """The first line, written by the journal itself."""

    kind = "log.opened"
    session: str
    epoch: Count
    """Which of the session's keys seals from here on; the first is 1."""
    vkey: str
    """That key's public half, in the signed-note form."""
    writer: str
    """The version of pairlock that writes."""
    reserve_bytes: Count
    """Room held for the closing lines; 0 where the filesystem cannot hold any."""


class LogSealed(Event):
    """A signature of the session's key over everything before this line, written by the journal itself."""

    kind = "log.sealed"
    epoch: Count
    note: str
    """A signed checkpoint: origin, size, root and `head <leaf>`."""


class SessionRecovered(Event):
    """The writer died and another has taken over, written by the journal itself."""

    kind = "session.recovered"
    session: str
    epoch: Count
    vkey: str
    writer: str
    unsealed_from: Count
    """The first entry that no seal covered then: what lies between it and this line is self-claimed."""
    dropped_bytes: Count
    """Bytes of a torn last line that were cut off; 0 when it was whole."""
    dropped_sha256: Digest
    """Of those bytes."""
