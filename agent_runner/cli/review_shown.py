"""Show changes on a terminal: escaped, coloured where colour is wanted, paged where there is much of it."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

import click
import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OBJECTS: Final = re.compile(r"^index ([0-9a-f]{10})[0-9a-f]{30}\.\.([0-9a-f]{10})[0-9a-f]{30}")
"""What a patch calls the old and the new content; a line of content never begins with it."""
_LESS_OPTIONS: Final = "FRX"
"""As git sets them: leave when all fits, obey colours, keep the screen."""


def show(lines: Iterable[str]) -> None:
    """Print lines, through the person's pager (`PAGER`, else `less`) when a terminal reads them."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        for line in lines:
            typer.echo(line)
        return
    os.environ.setdefault("LESS", _LESS_OPTIONS)
    if text := "\n".join(lines):
        click.echo_via_pager(text, color=True)


def painted(line: str, colour: str | None) -> str:
    """Return a line in a colour, unless nobody wants one (`NO_COLOR`) or no terminal shows it."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return typer.style(line, fg=colour) if colour and wanted else line


def patch_lines(patch: bytes) -> Iterator[str]:
    """Yield a patch's lines for a terminal: nothing that it would obey, added green, removed red.

    What only a program reads is left out: binary content, and most of the names of git's objects.
    """
    from sandbox.stage.summary import diff_for_terminal

    binary = False
    for line in diff_for_terminal(patch).removesuffix("\n").split("\n") if patch else ():
        binary = (binary or line == "GIT binary patch") and not line.startswith("diff --git ")
        if line == "GIT binary patch":
            yield "the content is binary, and is not shown"
        elif not binary:
            yield painted(_OBJECTS.sub(r"index \1..\2", line), _colour(line))


def stat_line(line: str) -> str:
    """Return one line of a stat, its letter's colour and what needs a look among it."""
    colour = {"A": typer.colors.GREEN, "D": typer.colors.RED, "?": typer.colors.YELLOW}.get(line[:1])
    return painted(line, colour)


def _colour(line: str) -> str | None:
    if line.startswith(("+++", "---", "diff ")):
        return None
    return {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}.get(line[:1])
