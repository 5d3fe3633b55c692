"""Add up what a session used, entry by entry, over all its runners."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_runner.time_spent import TimeSpent
from agent_runner.used import Used
from audit.fields import Totals

if TYPE_CHECKING:
    from audit import event
    from audit.chain import Entry

BEGINS: Final = ("log.opened", "session.recovered")
"""Types of the first entry of each of its runners."""


@dataclass
class Account:
    """What was used so far."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_micros: int = 0
    actions: int = 0
    denials: int = 0
    output_bytes: int = 0
    warned: set[str] = field(default_factory=set)
    """Budgets of which the model was warned."""
    time: TimeSpent = field(default_factory=TimeSpent)
    began_us: int = 0
    latest_us: int = 0
    ran_us: int = 0

    def tick(self, entry: Entry) -> None:
        """Take note of an entry's time; each runner has a clock of its own."""
        if entry.type in BEGINS:
            self.ran_us += self.latest_us - self.began_us
            self.began_us = entry.mono_us
        self.latest_us = entry.mono_us

    def answer(self, answered: event.ModelAnswered) -> None:
        """Count a turn."""
        self.turns += 1
        self.input_tokens += answered.input_tokens
        self.output_tokens += answered.output_tokens
        self.cached_tokens += answered.cached_tokens
        self.cost_micros += answered.cost_micros

    def used(self, *, children: int) -> Used:
        """Return it as a budget counts it.

        Args:
            children: Sessions that were started below.
        """
        return Used(
            turns=self.turns,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            cost_micros=self.cost_micros,
            seconds=(self.ran_us + self.latest_us - self.began_us) / 1_000_000,
            warned=frozenset(self.warned),
            output_bytes=self.output_bytes,
            actions=self.actions,
            children=children,
        )

    def totals(self) -> Totals:
        """Return it as a session's last entry tells it."""
        return Totals(
            actions=self.actions,
            denials=self.denials,
            model_ms=self.time.model_ms,
            sandbox_ms=self.time.sandbox_ms,
            ledger_ms=self.time.ledger_ms,
            waiting_ms=self.time.waited_ms,
        )
