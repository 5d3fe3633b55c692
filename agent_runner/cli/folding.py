"""Print lines for a person: on a terminal each is folded at its width, elsewhere it stays one line."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

NARROWEST: Final = 40
"""Columns below which a terminal folds better itself."""


def tell(line: str, *, indent: int) -> None:
    """Print a line of data; nothing of it is cut.

    Args:
        line: One line, escaped already.
        indent: Columns by which its further pieces stand in, so that none looks like a line of its own.
    """
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if columns < max(NARROWEST, 2 * indent):
        typer.echo(line)
        return
    for piece in folded(line, columns=columns, indent=indent):
        typer.echo(piece)


def folded(line: str, *, columns: int, indent: int) -> Iterator[str]:
    """Yield the pieces of a line, each but the first indented; joined without that they are the line."""
    begin, lead, room = 0, "", columns
    while (fits := _fitting(line, begin, room)) < len(line):
        at_space = line.rfind(" ", begin + room // 2, fits)
        end = at_space + 1 if at_space >= 0 else fits
        yield lead + line[begin:end]
        begin, lead, room = end, " " * indent, columns - indent
    yield lead + line[begin:]


def cut(line: str, *, columns: int) -> str:
    """Return what of a line fits into a terminal's columns, with a count of what is missing.

    Args:
        line: One line, escaped already.
        columns: The most that it may take, the count included; a wide character takes two.
    """
    if _fitting(line, 0, columns) == len(line):
        return line
    end = _fitting(line, 0, max(1, columns - len(f"... ({len(line)} more characters)")))
    return f"{line[:end]}... ({len(line) - end} more characters)"


def _fitting(line: str, begin: int, columns: int) -> int:
    """Return where in a line, from a place on, its room ends."""
    from unicodedata import east_asian_width

    taken = 0
    for place in range(begin, min(len(line), begin + columns + 1)):
        taken += 2 if east_asian_width(line[place]) in "WF" else 1
        if taken > columns:
            return max(begin + 1, place)
    return len(line)
