"""Read back what a session's entries commit to; a conversation that lacks a body is none to go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.reply_bodies import Beside, read_beside
from audit.errors import BrokenLedgerError
from audit.openings import Gone

if TYPE_CHECKING:
    from audit.fields import Commitment
    from audit.reader import SessionReader


class Bodies:
    """The bodies of one session's conversation.

    Args:
        reader: Reads its ledger.
        needed: Whether anybody wants them; where not, each is empty, and none is missed.
    """

    def __init__(self, reader: SessionReader, *, needed: bool = True) -> None:
        self._reader = reader
        self._needed = needed

    def text(self, commitment: Commitment, what: str) -> str:
        """Return a body that is text.

        Args:
            commitment: What its entry holds.
            what: What it is, for the message.

        Raises:
            BrokenLedgerError: When it was withheld, or is not what was committed to.
        """
        return self._value(commitment, what).decode("utf-8", "surrogateescape")

    def beside(self, seq: int, raw: Commitment | None) -> Beside:
        """Return what came beside a reply's words.

        Args:
            seq: The entry's number.
            raw: What it commits to; None where nothing did.

        Raises:
            BrokenLedgerError: As `text`.
            audit.errors.BadEventError: When no writer wrote it so.
        """
        if raw is None or not self._needed:
            return Beside()
        return read_beside(seq, self._value(raw, f"entry {seq}"))

    def _value(self, commitment: Commitment, what: str) -> bytes:
        if not self._needed:
            return b""
        value = self._reader.value(commitment)
        if isinstance(value, Gone):
            raise BrokenLedgerError(
                f"the body of {what} was withheld (commitment `{commitment.digest[:16]}`), so the "
                "conversation cannot be read back",
                path=self._reader.files.events,
                hint="a session with a deleted opening is not resumed; start another",
            )
        return value
