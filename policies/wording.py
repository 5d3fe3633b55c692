"""Put untrusted values into messages: short, in backticks, with nothing that a terminal would obey."""

from __future__ import annotations

import difflib
import textwrap
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 80
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def is_unseen(character: str) -> bool:
    """Tell whether a character shows nothing, or changes how others show.

    Args:
        character: One character.

    Returns:
        True for control, format (bidirectional, zero width, tags), private, surrogate and unassigned ones.
    """
    return unicodedata.category(character) in _UNSEEN


def escaped(text: str) -> str:
    """Escape what cannot be seen.

    Args:
        text: Any text.

    Returns:
        The text with each unseen character and each backtick as an escape.
    """
    if text.isascii() and text.isprintable() and "`" not in text:
        return text
    return "".join(
        f"\\u{{{ord(character):x}}}" if character == "`" or is_unseen(character) else character
        for character in text
    )


def quoted(value: object) -> str:
    """Quote a value for a message.

    Args:
        value: Anything a person or an agent wrote.

    Returns:
        At most 80 characters of it, escaped, in backticks.
    """
    match value:
        case bool():
            text = "true" if value else "false"
        case None:
            text = "null"
        case tuple() | list():
            text = "[" + ", ".join(str(item) for item in value[:8]) + ("]" if len(value) <= 8 else ", …]")
        case dict():
            text = "{" + ", ".join(f"{key}: …" for key in list(value)[:8]) + "}"
        case _:
            text = str(value)
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f"`{escaped(short)}`"


def listed(values: Iterable[object]) -> str:
    """Join values for a message.

    Args:
        values: What to name, in order.

    Returns:
        Each in backticks, separated by commas; "nothing" for none.
    """
    return ", ".join(quoted(value) for value in values) or "nothing"


def wrapped(text: str, first: str, *, width: int) -> str:
    """Break a text into lines for a terminal.

    Args:
        text: One paragraph.
        first: What the first line begins with; the others are indented as far.
        width: The longest line, in characters; a longer word stands on a line of its own.

    Returns:
        The lines.
    """
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that a misspelt one was probably meant to be.

    Args:
        word: What was written.
        known: What would have been valid.

    Returns:
        The nearest known word, or None when nothing is near.
    """
    spelt = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:_LONGEST].lower(), list(spelt), n=1, cutoff=0.6)
    return spelt[found[0]] if found else None
