"""Fetch what stands behind commitments, checked against them, within the room that a page has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.report.step import Absent, Prose
from audit.errors import AuditError
from audit.openings import Gone

if TYPE_CHECKING:
    from agent_runner.report.step import Form
    from audit.fields import Commitment
    from audit.reader import SessionReader

LARGEST_BYTES: Final = 2 * 2**20
"""Longest body that is shown whole."""
ROOM_BYTES: Final = 32 * 2**20
"""Bytes of bodies that one page shows whole; what comes after is cut short."""
WORDS_CHARACTERS: Final = 16 * 2**20
"""Characters of command lines that one page shows whole; what comes after is cut short, and says so."""
SHORT_BYTES: Final = 1024
"""What is shown of a body for which there is no room left, so that no agent can fill the page with one thing
and do another unseen."""


class Bodies:
    """Reads bodies for one page.

    Args:
        reader: The session's reader.
        withheld: Commitments whose values were withheld on purpose, as the host's log says.
        room_bytes: How much may be shown whole, in all.
    """

    def __init__(
        self, reader: SessionReader, withheld: frozenset[str], *, room_bytes: int = ROOM_BYTES
    ) -> None:
        self._reader = reader
        self._withheld = withheld
        self._room_bytes = room_bytes
        self._words_left = WORDS_CHARACTERS

    def read_with(self, reader: SessionReader) -> None:
        """Read with another reader from here on."""
        self._reader = reader

    def words(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command line, whole while there is room."""
        self._words_left -= sum(map(len, argv))
        if self._words_left >= 0:
            return argv
        return tuple(map(_short, argv))

    def part(
        self,
        commitment: Commitment,
        label: str,
        *,
        folded: bool = False,
        form: Form = "code",
    ) -> Prose | Absent:
        """Return a body as a part of a step; or why it cannot be shown."""
        value = self.value(commitment, label)
        return value if isinstance(value, Absent) else self.prose(value, label, folded=folded, form=form)

    def prose(
        self,
        value: bytes,
        label: str,
        *,
        folded: bool = False,
        form: Form = "code",
    ) -> Prose:
        """Return bytes as a part of a step, cut where the page has no room."""
        most = LARGEST_BYTES if len(value) <= self._room_bytes else SHORT_BYTES
        kept = value[:most]
        self._room_bytes = max(0, self._room_bytes - len(kept))
        return Prose(
            label=label,
            text=kept.decode("utf-8", "surrogateescape"),
            form=form,
            folded=folded,
            left_out=len(value) - len(kept),
        )

    def value(self, commitment: Commitment, label: str) -> bytes | Absent:
        """Return what stands behind a commitment; or why it cannot be shown."""
        try:
            value = self._reader.value(commitment)
        except (AuditError, OSError) as error:
            return Absent(label=label, why=f"not what the entry committed to: {error}", alarming=True)
        return self._absent(value, label) if isinstance(value, Gone) else value

    def _absent(self, gone: Gone, label: str) -> Absent:
        if gone.never_kept:
            return Absent(label=label, why="only a proof of it was ever kept")
        if gone.commitment in self._withheld:
            return Absent(label=label, why="withheld on purpose; the host's log accounts for it")
        return Absent(label=label, why="gone, and nothing accounts for it", alarming=True)


def _short(word: str) -> str:
    more = len(word) - SHORT_BYTES
    return word if more <= 0 else f"{word[:SHORT_BYTES]}... ({more} more characters)"
