"""Count what a session uses against what its policy allows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.backends.backend import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
    """What a session may use; every bound is finite."""

    turns: int
    tokens: int
    """Tokens in and out together."""
    wall_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded:
    """Which budget ran out."""

    name: str
    bound: int
    observed: int
    unit: str


class Budget:
    """Count turns, tokens and time.

    Args:
        limits: The bounds.
        monotonic: A clock in seconds.
    """

    def __init__(self, limits: BudgetLimits, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.turns = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cached_tokens = 0
        self._monotonic = monotonic
        self._start = monotonic()

    def count(self, usage: Usage) -> None:
        """Count one turn."""
        self.turns += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cached_tokens

    @property
    def elapsed_seconds(self) -> float:
        """Return the time since the session's start."""
        return self._monotonic() - self._start

    def exceeded(self) -> BudgetExceeded | None:
        """Return the first budget that has nothing left, before another turn is asked for."""
        tokens = self.input_tokens + self.output_tokens
        counted = (
            ("turns", self.limits.turns, self.turns, "turns"),
            ("tokens", self.limits.tokens, tokens, "tokens"),
            ("wall time", int(self.limits.wall_seconds), int(self.elapsed_seconds), "seconds"),
        )
        for name, bound, observed, unit in counted:
            if observed >= bound:
                return BudgetExceeded(name=name, bound=bound, observed=observed, unit=unit)
        return None
