"""Print lines for a person: on a terminal each is folded at its width, elsewhere it stays one line."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final, TextIO

import typer

from agent_runner.columns import NARROWEST, fitting, spelled_for, terminal_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTED_IN_WORDS: Final = 30
"""Columns below which what is cut off is a bare number."""
_WORD: Final = re.compile(r"( *)((?:[^ `]|`[^`]*`|`)+)")
"""A word and the spaces before it; what stands in backticks is one: it may be a path or a command to copy."""


def columns_of(stream: TextIO | None) -> int:
    """Return how wide the terminal behind a stream is; 0 where it is none, is closed, or does not say.

    A number in `COLUMNS` is taken for what the terminal says.
    """
    said = terminal_columns(stream)
    named = os.environ.get("COLUMNS", "")
    return int(named) if said is not None and named.isdecimal() else said or 0


def tell(line: str, *, indent: int) -> None:
    """Print a line of data; nothing of it is cut.

    Args:
        line: One line, escaped already.
        indent: Columns by which its further pieces stand in, so that none looks like a line of its own.
    """
    columns, line = columns_of(sys.stdout), spelled_for(sys.stdout, line)
    if columns < NARROWEST:
        typer.echo(line)
        return
    for piece in folded(line, columns=columns, indent=min(indent, columns // 2)):
        typer.echo(piece)


def folded(line: str, *, columns: int, indent: int) -> Iterator[str]:
    """Yield the pieces of a line, each but the first indented; joined without that they are the line."""
    begin, lead, room = 0, "", columns
    while (fits := fitting(line, begin, room)) < len(line):
        at_space = line.rfind(" ", begin + room // 2, fits)
        end = at_space + 1 if at_space >= 0 else fits
        yield lead + line[begin:end]
        begin, lead, room = end, " " * indent, columns - indent
    yield lead + line[begin:]


def wrapped(line: str, *, columns: int) -> Iterator[str]:
    """Yield a sentence in pieces that fit, broken between words; all but the first stand in by two columns.

    What stands in backticks is not broken where it fits a line, and keeps its spaces where it does not; a
    word that fits none is left to the terminal, which copies it whole.

    Args:
        line: One line, escaped already.
        columns: What a terminal shows in a line.
    """
    if columns < NARROWEST or fitting(line, 0, columns) == len(line):
        yield line
        return
    lead = " " * (len(line) - len(line.lstrip(" ")) + 2)
    piece = ""
    for space, word in _words(line, columns - len(lead)):
        longer = piece + space + word
        if piece and fitting(longer, 0, columns) < len(longer):
            yield piece
            longer = lead + word
        piece = longer
    yield piece


def _words(line: str, room: int) -> Iterator[tuple[str, str]]:
    for found in _WORD.finditer(line.rstrip(" ")):  # blanks without a word behind them are tried from each on
        space, word = found.groups()
        if " " in word and fitting(word, 0, room) < len(word):
            first, *more = re.findall(r"[^ ]+ *", word)
            yield space, first
            yield from (("", part) for part in more)
        else:
            yield space, word


def cut(line: str, *, columns: int) -> str:
    """Return what of a line fits into a terminal's columns, with a count of what is missing.

    Args:
        line: One line, escaped already.
        columns: The most that it may take, the count included; a wide character takes two.
    """
    if fitting(line, 0, columns) == len(line):
        return line
    before, behind = ("... (", " more characters)") if columns >= _COUNTED_IN_WORDS else ("+", "")
    end = fitting(line, 0, max(1, columns - len(f"{before}{len(line)}{behind}")))
    return f"{line[:end]}{before}{len(line) - end}{behind}"
