"""Lay JSON out in lines and change no value: numbers as they were written, each name as often as it stood."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_JSON_CHARACTERS: Final = 4 * 1024 * 1024
LARGEST_OUTPUT_CHARACTERS: Final = 16 * 1024 * 1024
MOST_WORDS: Final = 200_000
"""Values, names and signs: each costs the egress process, which does nothing else meanwhile, 1 to 4 µs."""
DEEPEST_INDENT: Final = 32
"""Levels; what lies deeper is indented as far: else 4 MB of numbers in 900 lists would be 4 GB."""
_HALF: Final = re.compile("[\ud800-\udfff]")
"""Half of a character, which UTF-8 does not have: JSON can say it by an escape only (RFC 8259, 8.2)."""
_WORD: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def indented(text: str) -> str:
    """Return JSON in lines; what is none, or would be too long, as it is."""
    if len(text) > LARGEST_JSON_CHARACTERS:
        return text
    try:
        json.loads(text, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):
        return text
    parts: list[str] = []
    length = 0
    for count, part in enumerate(_parts(text)):
        parts.append(part)
        length += len(part)
        if length > LARGEST_OUTPUT_CHARACTERS or count >= MOST_WORDS:
            return text
    return "".join(parts) + "\n"


def _parts(text: str) -> Iterator[str]:
    """Yield each word as it is laid out."""
    depth, opened = 0, False
    for found in _WORD.finditer(text):
        word = found.group()
        if word in "]}":
            depth -= 1
            yield word if opened else _line(depth) + word
            opened = False
            continue
        before = _line(depth) if opened else ""
        opened = word in "[{"
        depth += opened
        yield before + _written(word, depth)


def _written(word: str, depth: int) -> str:
    if word == ",":
        return word + _line(depth)
    if word == ":":
        return ": "
    if "\\" not in word:
        return word
    made = json.dumps(json.loads(word), ensure_ascii=False)
    return word if _HALF.search(made) else made


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, DEEPEST_INDENT)
