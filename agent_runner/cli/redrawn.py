"""Know what a footer takes of the screen once its terminal was narrowed, and have all of that erased."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.console import RenderHook
from rich.control import Control
from rich.segment import ControlType, Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderResult


class Redrawn(RenderHook):
    """Draw lines, and before they are drawn anew erase the rows into which the terminal broke them meanwhile.

    Rich goes up as many rows as it drew lines. To be pushed before it begins: what it adds comes first then.

    Args:
        drawn: Returns what to show now.
        console: Where.
    """

    def __init__(self, drawn: Callable[[], RenderableType], console: Console) -> None:
        self._drawn = drawn
        self._console = console
        self._widths: list[int] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw, and keep in mind how wide each line is."""
        lines = console.render_lines(self._drawn(), options, pad=False)
        self._widths = [Segment.get_line_length(line) for line in lines]
        for line in lines:
            yield from line
            yield Segment.line()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Put before what is printed the way up over the rows that came to be."""
        width = self._console.width
        more = sum(max(0, -(-wide // width) - 1) for wide in self._widths) if _breaks_lines() else 0
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * more
        return [Control(*up), *renderables] if up else renderables


def _breaks_lines() -> bool:
    """Say whether a terminal that is narrowed breaks its lines, as nearly all do; these two cut them off."""
    names = os.environ
    return "TMUX" in names or not ("XTERM_VERSION" in names or "STY" in names)
