"""Fold entries into what the session has used of each budget, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_runner.budget_limits import NOTHING, BudgetLimits, parse_budget
from agent_runner.errors import RunnerError
from agent_runner.fold import BUDGET_ADDED
from agent_runner.traffic import requests_of
from audit import event

if TYPE_CHECKING:
    from audit.fields import Event

MOST_POINTS: Final = 400


@dataclass(slots=True)
class Curve:
    """How a count rose, thinned out where it has many points.

    Attributes:
        total: The count now.
        points: (milliseconds of running time, the count then), in order.
    """

    total: int = 0
    points: list[tuple[int, int]] = field(default_factory=list)

    def add(self, ms: int, amount: int) -> None:
        """Count."""
        self.total += amount
        self.points.append((ms, self.total))
        if len(self.points) > 2 * MOST_POINTS:
            self.points = [*self.points[1:-1:2], self.points[-1]]


@dataclass(slots=True)
class Usage:
    """What one session has used."""

    turns: Curve = field(default_factory=Curve)
    tokens: Curve = field(default_factory=Curve)
    sent: Curve = field(default_factory=Curve)
    received: Curve = field(default_factory=Curve)
    requests: Curve = field(default_factory=Curve)
    input_tokens: int = 0
    cached_tokens: int = 0
    cacheable_tokens: int = 0
    """Of `input_tokens`: what the question before had sent already, so that a cache may have it."""
    kept_tokens: int = 0
    """Of `cacheable_tokens`: what did come from a cache, by the server's own count."""
    cost_micros: int = 0
    actions: int = 0
    denials: int = 0
    added: BudgetLimits = NOTHING
    """What people added to the policy's budget."""
    _last_input: int = 0

    @property
    def kept_percent(self) -> int | None:
        """Return the share of what could come from a cache that did; None while nothing could."""
        return 100 * self.kept_tokens // self.cacheable_tokens if self.cacheable_tokens else None

    def take(self, ms: int, happened: Event) -> None:
        """Take in an entry."""
        match happened:
            case event.ModelAnswered():
                self._answered(ms, happened)
            case event.ActionIntended(verdict=verdict):
                self.actions += 1
                self.denials += verdict == "denied"
            case event.ApprovalAnswered(answer=answer):
                self.denials += answer != "approved"
            case event.EgressClosed():
                self.requests.add(ms, requests_of(happened))
                self.sent.add(ms, happened.sent_bytes)
                self.received.add(ms, happened.received_bytes)
            case event.SafetyNoted(code=code, message=message) if code == BUDGET_ADDED:
                self._more(message)
            case _:
                pass

    def _answered(self, ms: int, answered: event.ModelAnswered) -> None:
        self.turns.add(ms, 1)
        self.tokens.add(ms, answered.input_tokens + answered.output_tokens)
        before = min(self._last_input, answered.input_tokens)
        self._last_input = answered.input_tokens
        self.cacheable_tokens += before
        self.kept_tokens += min(answered.cached_tokens, before)
        self.input_tokens += answered.input_tokens
        self.cached_tokens += answered.cached_tokens
        self.cost_micros += answered.cost_micros

    def _more(self, message: str) -> None:
        try:
            self.added = self.added.plus(parse_budget(message))
        except RunnerError:
            return  # the step that tells of it shows what was written
