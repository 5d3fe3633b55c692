"""Show long output in pages: what did not fit is kept for the session, on the host, and bounded."""

from __future__ import annotations

from dataclasses import dataclass

from cli_tools.neutral import LONGEST_TOKEN, neutralise, token_at, whole

_LONGEST_CHARACTER = 4
_GROWTH = 1.25
"""How much longer than its bytes a long page's text may be; where it is longer, pages get shorter."""
_SHORT_CHARACTERS = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an action answered, whole."""

    raw: bytes
    is_neutral: bool = False
    """Whether it was laid out by a command, and is neutralised already."""

    def page(self, start: int, most_bytes: int) -> tuple[str, int]:
        """Return the text of the bytes from `start` on, and where it ends; no character or escape is cut."""
        size = most_bytes
        while True:
            end = self._end(start, start + size)
            text = self._text(self.raw[start:end])
            if len(text) <= max(most_bytes * _GROWTH, _SHORT_CHARACTERS) or size <= LONGEST_TOKEN:
                return text, end
            size //= 2

    def _text(self, piece: bytes) -> str:
        return piece.decode("utf-8", "replace") if self.is_neutral else neutralise(piece)

    def boundary(self, place: int) -> int:
        """Return the last place up to this one between two characters and escapes."""
        return self._end(max(0, place - 64), max(0, place))

    def _end(self, start: int, end: int) -> int:
        """Return the last place up to `end` between two characters, and between two escapes."""
        if end >= len(self.raw):
            return len(self.raw)
        place = end
        while place > end - _LONGEST_CHARACTER and self.raw[place] & 0xC0 == 0x80:
            place -= 1
        if self.raw[place] & 0xC0 == 0x80:  # not UTF-8 at all
            place = end
        before = self._decoded(start, place)
        around = before + self._decoded(place, place + LONGEST_TOKEN)
        cut = whole(around, len(before)) if self.is_neutral else token_at(around, len(before))
        place = start + len(before[:cut].encode("utf-8", "surrogateescape"))
        return place if place > start else end

    def _decoded(self, start: int, end: int) -> str:
        return self.raw[start:end].decode("utf-8", "surrogateescape")


class EarlierOutput:
    """The last answer that was cut."""

    def __init__(self) -> None:
        self.action = ""
        self.content = Content(raw=b"")

    def keep(self, action: str, content: Content) -> None:
        """Keep an answer in the place of the one before; `Limits.action_output_bytes` bounds it."""
        self.action = action
        self.content = content
