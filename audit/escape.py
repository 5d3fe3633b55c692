"""Make untrusted text safe to print: every character that could act on a terminal or hide is spelled out."""

import unicodedata
from collections.abc import Callable
from functools import cache

# Zs but the plain space, line and paragraph separators, controls, formats (bidi, zero width, tags),
# surrogates, private use and unassigned: none of them is what it looks like.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
# Not of those categories, and still drawn as nothing: Hangul fillers, variation selectors, the Braille blank.
_BLANK = frozenset({0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800, 0x034F, 0x17B4, 0x17B5})

_MOST_LEARNT = 4096


def escape(text: str, *, keep: str = "") -> str:
    r"""Return the text with everything that is not visibly itself written as an escape.

    A backslash is doubled, so that an escape cannot be forged by writing one.

    Args:
        text: What an agent, a page or a file wrote; lone surrogates are welcome.
        keep: Characters to leave alone, for example a newline where the caller lays out lines itself.

    Returns:
        Printable text; ``\x1b``, ``\u202e`` or ``\U000e0041`` where a character was hidden.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.translate(_spellings(keep))


def escape_line(text: str, *, width: int | None = None) -> str:
    """Return the text escaped, on one line, and cut (with a count of what is missing) when a width is given.

    Args:
        text: Untrusted text.
        width: The largest number of characters of the escaped text to show; None shows all.
    """
    shown = escape(text)
    if width is None or len(shown) <= width:
        return shown
    return f"{shown[:width]}... ({len(shown) - width} more characters)"


def is_hidden(char: str) -> bool:
    """Tell whether a character could act on a terminal or be mistaken for nothing or for a space."""
    if char == " ":
        return False
    code = ord(char)
    if code in _BLANK or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return True
    return unicodedata.category(char) in _HIDDEN_CATEGORIES


class Learnt(dict[int, str]):
    """How each character is written, by its code point, as `str.translate` asks; learnt as they are met.

    When it holds 4,096 of them it forgets them all: a text of every character there is would take 140 MiB.

    Args:
        spelled: Says how a character is written.
    """

    def __init__(self, spelled: Callable[[str], str]) -> None:
        super().__init__()
        self._spelled = spelled

    def __missing__(self, code: int) -> str:
        if len(self) >= _MOST_LEARNT:
            self.clear()
        self[code] = found = self._spelled(chr(code))
        return found


@cache
def _spellings(keep: str) -> Learnt:
    return Learnt(lambda char: char if char in keep else _escaped(char))


def _escaped(char: str) -> str:
    short = _SHORT.get(char)
    if short is not None:
        return short
    if not is_hidden(char):
        return char
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
