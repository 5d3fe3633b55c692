"""Show the cases of a run: a table that lives in a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agent_runner.ci.annotations import plain_line
from agent_runner.cli.bars import amount
from agent_runner.cli.footer import Footer, can_show
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Group

    from agent_runner.ci.outcome import TaskResult
    from agent_runner.ci.reading import Task
    from agent_runner.ci.telling import Onlooker

WIDEST_NAME: Final = 32  # columns of a terminal


class Lines:
    """Say a line of everything that happens; `agent_runner.ci.telling.Onlooker`."""

    def began(self, case: str) -> None:
        """Say that a case was started."""
        _line(f"{case}: started")

    def said(self, case: str, line: str) -> None:
        """Say a line about a case."""
        _line(f"{case}: {line}")

    def does(self, case: str, turn: int, action: str) -> None:
        """Say nothing: the ledger and the report tell each action."""

    def ended(self, result: TaskResult) -> None:
        """Say what came of a case."""
        _line(f"{result.name}: {result.verdict}")


class LiveTable:
    """Show each case that runs as a row, and how many wait, passed and failed; failures stay as lines.

    Args:
        total: How many cases there are.
        monotonic: A clock in seconds.
    """

    def __init__(self, total: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._monotonic = monotonic
        self._rows: dict[str, tuple[float, str, str]] = {}
        self._ended: Counter[str] = Counter()
        self._footer = Footer(self.table)

    def began(self, case: str) -> None:
        """Show a row."""
        self._rows[case] = (self._monotonic(), "", "starting")

    def said(self, case: str, line: str) -> None:
        """Show a line in its row."""
        began, turn, _ = self._rows.get(case, (self._monotonic(), "", ""))
        self._rows[case] = (began, turn, line)

    def does(self, case: str, turn: int, action: str) -> None:
        """Show what its agent asks for in its row."""
        began, _, _ = self._rows.get(case, (self._monotonic(), "", ""))
        self._rows[case] = (began, str(turn), action)

    def ended(self, result: TaskResult) -> None:
        """Take the row away; what failed stays to be read."""
        self._rows.pop(result.name, None)
        self._ended[result.verdict] += 1
        if result.code:
            self._footer.print_above(plain_line(f"{result.name}: {result.verdict}"))

    def start(self) -> None:
        """Show the table from now on."""
        self._footer.show()

    def stop(self) -> None:
        """Take the table away."""
        self._footer.hide()

    def table(self) -> Group:
        """Return what is shown now."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=True)
        for heading, width in (("task", WIDEST_NAME), ("time", None), ("turn", None)):
            table.add_column(heading, no_wrap=True, overflow="ellipsis", header_style="", max_width=width)
        # What is left of the line: a long action takes no other column's room.
        table.add_column("does", no_wrap=True, overflow="ellipsis", header_style="", ratio=1)
        for case, (began, turn, does) in self._rows.items():
            elapsed = amount(int(self._monotonic() - began), "seconds")
            table.add_row(*(Text(plain_line(cell)) for cell in (case, elapsed, turn, does)))
        return Group(Text(self._sum()), table)

    def _sum(self) -> str:
        ended = sum(self._ended.values())
        waiting = self._total - ended - len(self._rows)
        return (
            f"{self._ended['passed']} passed, {self._ended['failed']} failed, {len(self._rows)} running, "
            f"{waiting} waiting"
        )


@contextmanager
def onlooker_for_terminal(cases: Sequence[Task]) -> Iterator[Onlooker]:
    """Give who shows cases: a live table where stderr is a terminal that can show one, else plain lines."""
    if not can_show():
        yield Lines()
        return
    table = LiveTable(len(cases))
    table.start()
    try:
        yield table
    finally:
        table.stop()


def _line(text: str) -> None:
    say(plain_line(text))
