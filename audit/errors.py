"""Every error that this package raises, split by who must act; no other module here defines one."""

from pathlib import Path


class AuditError(Exception):
    """Raised when the ledger cannot do what was asked; the parent of every error of this package.

    Attributes:
        message: What went wrong, without the hint.
        hint: What the reader can do about it; empty where there is nothing to do.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}; hint: {hint}" if hint else message)
        self.message = message
        self.hint = hint


# The world broke: nothing more may be done.


class LedgerError(AuditError):
    """Raised when the ledger cannot be written, so that nothing further may be done (exit 6)."""


class LedgerFullError(LedgerError):
    """Raised when the disk has no room beyond the reserve; only closing entries are still taken."""


class LedgerLostError(LedgerError):
    """Raised when a file of the ledger was unlinked, replaced or changed under its writer."""


class LedgerLockedError(LedgerError):
    """Raised when another process is already the writer of this session, or keeps others waiting too long."""


class LedgerMovedError(LedgerError):
    """Raised when a log that is to be written again is not as long as its caller had read it."""


class LedgerDeadError(LedgerError):
    """Raised when something is recorded after the ledger has failed or was closed."""


class NoRoomError(AuditError):
    """Raised when what is known of a long log neither stays in memory nor finds room in a temporary file."""


# What was read does not hold.


class BrokenLedgerError(AuditError):
    """Raised when what is on disk does not verify.

    Attributes:
        path: The file.
        seq: The first bad entry, counted from 0; None when the fault is not at an entry.
    """

    def __init__(
        self, message: str, *, path: Path | None = None, seq: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.seq = seq


class BadSignatureError(BrokenLedgerError):
    """Raised when a signed note has no valid signature of the expected key."""


class MalformedLineError(BrokenLedgerError):
    """Raised when a line is not exactly what a ledger's writer would have written."""


class BadProofError(BrokenLedgerError):
    """Raised when a proof of inclusion or of consistency does not lead to the given root."""


# The caller was wrong.


class BadEventError(AuditError):
    """Raised when an entry's body does not fit the schema of its type and version."""


class BadKeyError(AuditError):
    """Raised when a key's text is not a key of the signed-note form."""


class BadFilterError(AuditError):
    """Raised when a query's filter cannot be understood."""


class LostHelperError(AuditError):
    """Raised when a process that was to help has ended before its work was done."""


class ShortSecretError(AuditError):
    """Raised when a secret is too short to be replaced without spoiling ordinary text."""


class UnknownEntryError(AuditError):
    """Raised when a session has no entry of a number."""


class UnknownSessionError(AuditError):
    """Raised when no session, or more than one, answers to an id."""


class SessionExistsError(AuditError):
    """Raised when a ledger is to be created for a session that has one."""


class StateFolderError(AuditError):
    """Raised when the state folder is of a newer format, not private to its owner, or cannot be written."""
