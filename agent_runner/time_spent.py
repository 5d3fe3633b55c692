"""Fold a session's ledger into what its time went on, all its runners together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit import event

if TYPE_CHECKING:
    from audit.fields import Event


@dataclass(slots=True)
class TimeSpent:
    """Milliseconds, for each of the things that a session waits for.

    What a sandbox took to start, and what waiting for the ledger took, only the account at a runner's end
    says, for all runners up to then; of a runner that was killed nobody knows.
    """

    model_ms: int = 0
    sandbox_ms: int = 0
    ledger_ms: int = 0
    waited_ms: int = 0
    _waits_ms: dict[str, int] = field(default_factory=dict[str, int])
    """Waits for answers, by the action, until it ends: its duration holds them."""

    def take(self, happened: Event) -> None:
        """Take in the next entry."""
        match happened:
            case event.ModelAnswered(duration_ms=took):
                self.model_ms += took
            case event.ActionFinished(action=action, duration_ms=took):
                self.sandbox_ms += max(0, took - self._waits_ms.pop(action, 0))
            case event.ApprovalAnswered(action=action, waited_ms=took):
                self.waited_ms += took
                self._waits_ms[action] = self._waits_ms.get(action, 0) + took
            case event.SessionClosed(totals=told):
                self.sandbox_ms, self.ledger_ms = told.sandbox_ms, told.ledger_ms
            case _:
                pass
