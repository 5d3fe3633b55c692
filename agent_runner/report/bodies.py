"""Fetch what stands behind commitments, checked against them, within the room that a page has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.report.step import Absent, Prose
from agent_runner.report.visible import page_bytes, short, visible, visible_line
from audit.errors import AuditError
from audit.openings import Gone

if TYPE_CHECKING:
    from agent_runner.report.step import Form
    from audit.fields import Commitment
    from audit.reader import SessionReader

LARGEST_BYTES: Final = 4 * 2**20
"""What one body may take on a page, in bytes of the page: a hidden character takes up to 20 of them."""
ROOM_BYTES: Final = 32 * 2**20
"""What all bodies may take; those that come after are cut short."""
WORDS_BYTES: Final = 16 * 2**20
"""What all command lines may take; words of those that come after are cut short."""
SHORT: Final = 1024
"""Characters that are shown where there is no room left, so that no agent can fill the page with one thing
and do another unseen."""


class Bodies:
    """Reads bodies for one page.

    Args:
        reader: The session's reader.
        withheld: Commitments whose values were withheld on purpose, as the host's log says.
        room_bytes: How much they may take on it, in all.
    """

    def __init__(
        self, reader: SessionReader, withheld: frozenset[str], *, room_bytes: int = ROOM_BYTES
    ) -> None:
        self._reader = reader
        self._withheld = withheld
        self._room_bytes = room_bytes
        self._words_bytes = WORDS_BYTES

    def read_with(self, reader: SessionReader) -> None:
        """Read with another reader from here on."""
        self._reader = reader

    def words(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command line, whole while there is room."""
        self._words_bytes -= sum(page_bytes(visible_line(word)) for word in argv)
        return argv if self._words_bytes >= 0 else tuple(short(word, SHORT) for word in argv)

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
        text = value.decode("utf-8", "surrogateescape")
        kept, taken = _fitting(text, min(LARGEST_BYTES, self._room_bytes))
        self._room_bytes -= taken
        left_out = len(value) - len(kept.encode("utf-8", "surrogateescape"))
        return Prose(label=label, text=kept, form=form, folded=folded, left_out=left_out)

    def value(self, commitment: Commitment, label: str) -> bytes | Absent:
        """Return what stands behind a commitment; or why it cannot be shown."""
        try:
            value = self._reader.value(commitment)
        except (AuditError, OSError) as error:
            return Absent(label=label, why=f"not what the entry committed to: {error}", alarming=True)
        return self._absent(value, label) if isinstance(value, Gone) else value

    def _absent(self, gone: Gone, label: str) -> Absent:
        if gone.commitment in self._withheld:
            return Absent(label=label, why="withheld on purpose; the host's log accounts for it")
        return Absent(label=label, why="gone, and nothing accounts for it", alarming=True)


def _fitting(text: str, most_bytes: int) -> tuple[str, int]:
    """Return as much of a text's beginning as there is room for, at least some, and the bytes it takes."""
    kept = text[: max(SHORT, most_bytes)]
    while True:
        taken = page_bytes(visible(kept))
        if taken <= most_bytes or len(kept) <= SHORT:
            return kept, taken
        kept = kept[: max(SHORT, len(kept) * max(0, most_bytes) // (taken + 1))]
