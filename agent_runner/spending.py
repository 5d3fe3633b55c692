"""Tell how much of each budget a session has used, from its ledger's entries as they are read, each once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent_runner.budget import Budget
from agent_runner.budget_limits import limits_of_policy
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.fold import Folding
from agent_runner.fold_bodies import Bodies
from agent_runner.host_log import HostLogLook
from agent_runner.past_below import with_below
from agent_runner.review import read_policy
from agent_runner.traffic import Traffic
from audit.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.past import Past
    from audit.chain import Entry
    from audit.fields import Event
    from audit.reader import SessionReader


class Spending:
    """What one session has used so far, over all its runners.

    Args:
        reader: Reads its ledger.
        state: The state folder.

    Attributes:
        traffic: What went through its gates.
    """

    def __init__(self, reader: SessionReader, state: Path) -> None:
        self._state = state
        self._host_log = HostLogLook(state)
        self._ended: dict[str, Past] = {}
        self._folder = reader.files.folder
        self._fold: Folding | None = Folding(reader, Bodies(reader, needed=False))
        self.traffic = Traffic()

    def take(self, entry: Entry, happened: Event) -> None:
        """Take in the next entry."""
        self.traffic.take(happened)
        try:
            if self._fold is not None:
                self._fold.take(entry, happened)
        except (InvalidInputError, RefusedError, AuditError):
            self._fold = None

    def states(self) -> list[BudgetExceeded]:
        """Return how much of each budget is used, as far as it is known.

        Nothing is told of a command that a person ran, whose agent counts, and of a session below which one
        was pruned.
        """
        if self._fold is None:
            return []
        try:
            own = replace(self._fold.past(), traffic=Traffic())  # what is below is added to that
            index = self._host_log.index() if own.children else None
            past = with_below(own, self._state, index=index, ended=self._ended) if own.children else own
        except (InvalidInputError, RefusedError, AuditError):
            return []
        limits = limits_of_policy(read_policy(self._folder)).plus(past.added)
        budget = Budget(limits, used=past.used, below=past.below, monotonic=lambda: 0.0)
        budget.watch_egress(self.traffic.total)
        return budget.states()
