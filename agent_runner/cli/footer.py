"""Keep something that changes as the last of a terminal's screen, below what is printed as lines."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from agent_runner.cli.talk import fall_silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.live import Live

REFRESHES_A_SECOND: Final = 2


def can_show() -> bool:
    """Tell whether stderr is a terminal that can show a footer."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Footer:
    """What stands below on stderr, drawn anew a few times a second while it is shown.

    Args:
        drawn: Returns what to show now.
    """

    def __init__(self, drawn: Callable[[], RenderableType]) -> None:
        self._drawn = drawn
        self._live: Live | None = None

    @property
    def is_shown(self) -> bool:
        """Whether it stands there."""
        return self._live is not None

    def show(self) -> None:
        """Show it from now on; a terminal that was closed is said nothing more."""
        from rich.console import Console
        from rich.live import Live

        from agent_runner.cli.redrawn import Redrawn

        self.hide()
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        redrawn = Redrawn(self._drawn, console)
        console.push_render_hook(redrawn)
        self._live = Live(
            redrawn,
            console=console,
            transient=True,
            refresh_per_second=REFRESHES_A_SECOND,
            redirect_stdout=False,
            vertical_overflow="crop",
        )
        try:
            self._live.start()
            console.show_cursor(show=True)  # whoever kills this leaves a terminal that can be typed in
        except OSError:  # the terminal was closed
            self.hide()
            fall_silent()

    def print_above(self, line: str) -> None:
        """Print a line that stays, above it; nothing while it is not shown."""
        if self._live is not None:
            self._live.console.print(line)

    def hide(self) -> None:
        """Take it away; what was printed stays."""
        live, self._live = self._live, None
        if live is not None:
            try:
                live.stop()
            except OSError:  # the terminal was closed, and took it away
                fall_silent()
