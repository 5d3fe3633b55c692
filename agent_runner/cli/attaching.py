"""Show a session to whoever is attached to it, as its own terminal does; its ledger tells it."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import typer

from agent_runner.cli.attached import AttachedPerson
from agent_runner.cli.entries import print_entry
from agent_runner.cli.exits import Exit
from agent_runner.cli.footer import can_show
from agent_runner.cli.live import LiveWatcher
from agent_runner.cli.talk import PlainWatcher, say
from agent_runner.fold_account import BEGINS
from agent_runner.following import follow_session
from agent_runner.retelling import Retelling
from agent_runner.spending import Spending
from audit.reader import BrokenEntry

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.budget_state import BudgetExceeded
    from audit.chain import Entry


LOOK_SECONDS: Final = 1.0
"""Between two looks at what was used, below the session too."""


def show_attached(state: Path, session: str, *, answer: bool) -> None:
    """Show a session until it ends.

    Args:
        state: The state folder.
        session: The whole id.
        answer: Whether its questions are put to the person as well.

    Raises:
        InvalidInputError: When nobody sits at this terminal and is to answer.
        typer.Exit: When an entry does not hold, or what stands behind one.
    """
    live = LiveWatcher() if can_show() and sys.stdout.isatty() else None
    person = AttachedPerson(session, live) if answer else None
    view = _View(state, session, live)
    try:
        entries = follow_session(
            state, session, wait=person.wait if person else None, caught_up=view.show_budgets
        )
        for entry in entries:
            if isinstance(entry, BrokenEntry):
                if live is not None:
                    live.close()  # its last drawing would go over what is printed now
                print_entry(view.told.reader, entry, as_json=False)
                return
            view.take(entry)
    finally:
        if live is not None:
            live.close()
    if not view.told.is_whole:
        say(f"pairlock: entries of `{session}` were changed: `pairlock audit verify {session}` says which")
        raise typer.Exit(Exit.LEDGER)


class _View:
    def __init__(self, state: Path, session: str, live: LiveWatcher | None) -> None:
        self._live = live
        self.told = Retelling(state, session, live or PlainWatcher(on=sys.stdout))
        self._spending = Spending(self.told.reader, state)
        self._states: list[BudgetExceeded] | None = None
        self._is_new = False
        self._next_look = 0.0

    def take(self, entry: Entry) -> None:
        happened = self.told.take(entry)
        if self._live is None or happened is None:
            return
        self._is_new = True
        self._spending.take(entry, happened)
        if entry.type in BEGINS:
            ago = time.time() - datetime.fromisoformat(entry.at).timestamp()
            self._live.began = time.monotonic() - max(0.0, ago)

    def show_budgets(self) -> None:
        """Show below what was used by now; drawn in another thread, which is given a list of its own."""
        now = time.monotonic()
        if self._live is None or not self._is_new or now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        self._is_new, is_first = False, self._states is None
        self._states = self._spending.states()
        if is_first:
            self._live.follow(lambda: self._states or [])
