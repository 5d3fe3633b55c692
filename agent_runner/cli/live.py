"""Show a session in a terminal: its conversation as lines; below them budgets as bars, egress and time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agent_runner.cli.bars import amount, budget_line
from agent_runner.cli.footer import Footer, can_show
from agent_runner.cli.talk import PlainWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.text import Text

    from agent_runner.approvals import Answer, Asker
    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.question import Question

BAR: Final = 12
_SHOWN: Final = ("turns", "tokens", "cost", "wall time")
_CROSSED: Final = {"bytes sent": "sent", "bytes received": "received"}


def watcher_for_terminal() -> PlainWatcher:
    """Return a live view where stderr is a terminal that can show one, else plain lines."""
    return LiveWatcher() if can_show() else PlainWatcher()


class LiveWatcher(PlainWatcher):
    """Show turns as plain lines, and a footer that is always the last of the screen.

    Args:
        monotonic: A clock in seconds.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self.began = monotonic()
        """When the session began, by that clock."""
        self._states: Callable[[], list[BudgetExceeded]] | None = None
        self._footer = Footer(self._drawn)

    def follow(self, states: Callable[[], list[BudgetExceeded]]) -> None:
        """Show these budgets until `close`."""
        self._states = states
        self._footer.show()

    def close(self) -> None:
        """Take the footer away; what was said stays."""
        self._footer.hide()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Take the footer away while a person is asked something."""
        shown = self._footer.is_shown
        self.close()
        try:
            yield
        finally:
            if shown:
                self._footer.show()

    def _drawn(self) -> Text:
        from rich.text import Text

        states = {state.name: state for state in (self._states() if self._states else [])}
        lines = [budget_line(states[name], width=BAR) for name in _SHOWN if name in states]
        elapsed = amount(int(self._monotonic() - self.began), "seconds")
        crossed = [
            f"{amount(states[name].observed, 'bytes')} {word}"
            for name, word in _CROSSED.items()
            if name in states
        ]
        lines.append(f"elapsed {elapsed}" + (f"   egress {', '.join(crossed)}" if crossed else ""))
        return Text("\n".join(lines), no_wrap=True, overflow="crop")


class StillAsker:
    """Ask at the terminal with no footer in the way; `approvals.Asker`.

    Args:
        asker: Who asks.
        watcher: Who shows the session meanwhile.
    """

    def __init__(self, asker: Asker, watcher: LiveWatcher) -> None:
        self._asker = asker
        self._watcher = watcher

    async def ask(self, question: Question) -> Answer:
        """Return the answer."""
        with self._watcher.still():
            return await self._asker.ask(question)
