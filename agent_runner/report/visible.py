r"""Make untrusted text safe to show: what would act or hide is spelled out, and marked as spelled.

A spelled character stands between U+0001 and U+0002. Both are control characters, so neither can come from
the text itself: they would be spelled out. The page draws what is between them in another way, and nothing
has to be doubled to tell an escape from one that somebody wrote.
"""

from __future__ import annotations

import re
from typing import Final

import orjson
from markupsafe import Markup

from audit.escape import Learnt, escape, is_hidden

OPEN: Final = "\x01"
CLOSE: Final = "\x02"
_SUSPECT: Final = re.compile(r"[^\x20-\x7e\n\t]")
_SUSPECT_IN_LINE: Final = re.compile(r"[^\x20-\x7e]")
_SPELLED: Final = re.compile(f"{OPEN}([^{CLOSE}]*){CLOSE}")


def _spelled(char: str) -> str:
    return f"{OPEN}{escape(char)}{CLOSE}" if is_hidden(char) else char


_LINES: Final = Learnt(lambda char: char if char in "\n\t" else _spelled(char))
_LINE: Final = Learnt(_spelled)


def visible(text: str) -> str:
    """Return text of many lines, in which every character that is not visibly itself is spelled and marked.

    Args:
        text: What an agent, a page or a file wrote; lone surrogates are welcome. Newlines and tabs stay.
    """
    return text.translate(_LINES) if _SUSPECT.search(text) else text


def visible_line(text: str) -> str:
    """Return the same on one line: newlines and tabs are spelled too."""
    return text.translate(_LINE) if _SUSPECT_IN_LINE.search(text) else text


def page_bytes(shown: str) -> int:
    """Return how many bytes a text that was made visible takes in a page's data, every escape counted."""
    return len(orjson.dumps(shown)) + 5 * sum(map(shown.count, "<>&"))


def short(text: str, most: int) -> str:
    """Return a text, cut where it is longer than so many characters; what is missing is counted."""
    more = len(text) - most
    return text if more <= 0 else f"{text[:most]}... ({more} more characters)"


def plain(shown: str) -> str:
    """Return what `visible` made, without its marks: what a person who copies it gets."""
    return shown.replace(OPEN, "").replace(CLOSE, "")


def markup(text: str) -> Markup:
    """Return a line of untrusted text as HTML, its hidden characters spelled in elements of their own."""
    parts = _SPELLED.split(visible_line(text))
    return Markup("").join(
        Markup('<span class="spelled">{}</span>').format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )
