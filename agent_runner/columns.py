"""Count the columns that text takes on a terminal, and break a line into rows that tell all of it. Pure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from unicodedata import east_asian_width

if TYPE_CHECKING:
    from typing import TextIO

NARROWEST: Final = 20
"""Columns below which a row holds too little beside what leads it."""
_BLANKS: Final = 8
"""How many of them make a row where nothing but blanks fits it."""


def terminal_columns(stream: TextIO | None) -> int | None:
    """Return the columns that a stream's terminal says, 0 where it says none; None where there is none."""
    try:
        return None if stream is None else os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return None


def width_of(stream: TextIO) -> int:
    """Return for how many columns `rows` are made: at least 20, or 0 where no terminal says how many."""
    said = terminal_columns(stream)
    return max(said, NARROWEST) if said else 0


def spelled_for(stream: TextIO, text: str) -> str:
    r"""Return text as a stream's encoding shows it: what it has no bytes for is `\u6f22`, of six columns."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def fitting(line: str, begin: int, columns: int) -> int:
    """Return where in a line, from a place on, its room ends; a wide character takes two columns."""
    taken = 0
    for place in range(begin, min(len(line), begin + columns + 1)):
        taken += 2 if east_asian_width(line[place]) in "WF" else 1
        if taken > columns:
            return max(begin + 1, place)
    return len(line)


def rows(line: str, *, columns: int, lead: str) -> list[str]:
    """Return a line as the rows of a terminal; two lines that differ have rows that look different.

    No row ends with blanks, which nobody sees: they begin the next one, or are a row of their own.

    Args:
        line: One line, escaped already; it does not end with a blank.
        columns: How wide the terminal is, 20 or more; 0 where there is none, for one row.
        lead: What stands before each row but the first, so that none is taken for a line of its own.
    """
    if columns < NARROWEST:
        return [line]
    found, begin, before = [], 0, ""
    while (end := fitting(line, begin, columns - len(before))) < len(line):
        end = _broken(line, begin, end)
        found.append(before + line[begin:end])
        begin, before = end, lead
    return [*found, before + line[begin:]]


def _broken(line: str, begin: int, end: int) -> int:
    """Return where a row ends: before the last blanks of its second half, else where its room does."""
    blank = end if line[end] == " " else line.rfind(" ", begin, end)
    until = begin + len(line[begin:blank].rstrip(" ")) if blank >= begin else begin
    if until == begin:  # not one before the first word, or nothing else
        return min(end, begin + _BLANKS) if line[begin:end].isspace() else end
    return until if until > begin + (end - begin) // 2 or line[end - 1] == " " else end
