"""Match an operator's patterns against hostile text, in time linear in it: RE2, wrapped here alone.

https://github.com/google/re2/wiki/Syntax says what can be written; look-around and back references cannot.
"""

from __future__ import annotations

from typing import Final

import re2

LONGEST: Final = 500
"""Characters of a pattern."""
_MEMORY_BYTES: Final = 1 << 20


class BadPatternError(ValueError):
    """Raised when a text is no pattern."""


class Pattern:
    """One pattern.

    Args:
        text: As RE2 reads it.

    Raises:
        BadPatternError: When it is none.
    """

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY_BYTES
        self.text = text
        if not text or len(text) > LONGEST:
            raise BadPatternError(f"a pattern has 1 to {LONGEST} characters")
        try:
            self._in_text = re2.compile(text, options)
            self._in_bytes = re2.compile(text.encode(), options)
        except re2.error as error:
            said = error.args[0] if error.args else b""
            why = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
            raise BadPatternError(f"`{text}` is no pattern: {why}") from error

    def is_whole(self, value: str) -> bool:
        """Say whether a value is matched from its first character to its last."""
        return self._in_text.fullmatch(value) is not None

    def is_in(self, line: bytes) -> bool:
        """Say whether it is found in a line."""
        return self._in_bytes.search(line) is not None
