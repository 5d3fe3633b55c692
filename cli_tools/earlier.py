"""Keep what did not fit into an answer: for the session, on the host, bounded; `output last` shows it."""

from __future__ import annotations

from typing import Final

MOST_CHARACTERS: Final = 16_000_000


class EarlierOutput:
    """The text of the last action whose answer was cut, as the model would have seen it whole."""

    def __init__(self) -> None:
        self.action = ""
        self.text = ""
        self.dropped = 0
        """Characters at the end that were too many even for here."""

    def keep(self, action: str, text: str) -> None:
        """Keep a text in the place of the one before."""
        self.action = action
        self.text = text[:MOST_CHARACTERS]
        self.dropped = len(text) - len(self.text)
