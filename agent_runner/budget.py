"""Count what a session uses against what its policy allows; warn at 80 %, end at the bound."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from agent_runner.errors import InvalidInputError
from policies.errors import PolicyError
from policies.units import parse_count, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent_runner.backends.backend import Usage
    from policies.policy import Policy

WARN_SHARE: Final = 0.8
NAMES: Final = ("turns", "tokens", "cost_usd", "wall_time")
_MICROS: Final = 1_000_000
_DOLLARS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
    """What a session may use; every bound is finite."""

    turns: int
    """Questions to the model."""
    tokens: int
    """Tokens in and out together."""
    wall_seconds: float
    """Time during which the session runs; while it lies interrupted none passes."""
    cost_micros: int = 0
    """Millionths of a US dollar, by the operator's prices; 0 is nothing that costs anything."""

    def plus(self, more: BudgetLimits) -> BudgetLimits:
        """Return these bounds with others added."""
        return BudgetLimits(
            turns=self.turns + more.turns,
            tokens=self.tokens + more.tokens,
            wall_seconds=self.wall_seconds + more.wall_seconds,
            cost_micros=self.cost_micros + more.cost_micros,
        )


NOTHING: Final = BudgetLimits(turns=0, tokens=0, wall_seconds=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded:
    """Which budget ran out."""

    name: str
    bound: int
    observed: int
    unit: str

    @property
    def reason(self) -> str:
        """Return one line that names it."""
        return f"the budget of {self.name} ran out: {self.observed} of {self.bound} {self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a session had used when it was left."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_micros: int = 0
    """Millionths of a US dollar."""
    seconds: float = 0.0
    """Time during which it ran."""
    warned: frozenset[str] = field(default=frozenset())
    """The budgets of which the model was warned."""
    output_bytes: int = 0
    """Output of its actions."""


class Budget:
    """Count turns, tokens, cost and time.

    Args:
        limits: The bounds.
        used: What was used before, in a session that goes on.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        *,
        used: Used | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        before = used or Used()
        self.limits = limits
        self.turns = before.turns
        self.input_tokens = before.input_tokens
        self.output_tokens = before.output_tokens
        self.cached_tokens = before.cached_tokens
        self.cost_micros = before.cost_micros
        self._warned = set(before.warned)
        self._output_before = before.output_bytes
        self._output: tuple[int, Callable[[], int]] | None = None
        self._monotonic = monotonic
        self._start = monotonic() - before.seconds

    def bound_output(self, most_bytes: int, written: Callable[[], int]) -> None:
        """Bound what all actions together may put out.

        Args:
            most_bytes: The bound.
            written: Tells how much it was since this process began.
        """
        self._output = most_bytes, written

    def count(self, usage: Usage) -> None:
        """Count one turn."""
        self.turns += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cached_tokens
        self.cost_micros += usage.cost_micros

    @property
    def elapsed_seconds(self) -> float:
        """Return the time during which the session has run."""
        return self._monotonic() - self._start

    @property
    def seconds_left(self) -> float:
        """Return the time until the wall clock runs out; 0 when it has."""
        return max(0.0, self.limits.wall_seconds - self.elapsed_seconds)

    def exceeded(self) -> BudgetExceeded | None:
        """Return the first budget that has nothing left, before another turn is asked for."""
        return next((state for state in self._states() if state.observed >= state.bound), None)

    def out_of_time(self) -> BudgetExceeded:
        """Return the wall clock's budget, which has just run out."""
        wall = self._wall_state()
        return replace(wall, observed=max(wall.observed, wall.bound))

    def warnings(self) -> list[str]:
        """Return a line for each budget that has passed 80 % since it was last asked."""
        passed = [
            state
            for state in self._states()
            if state.observed >= WARN_SHARE * state.bound and state.name not in self._warned
        ]
        self._warned.update(state.name for state in passed)
        return [warning_of(state) for state in passed]

    def _states(self) -> Iterator[BudgetExceeded]:
        tokens = self.input_tokens + self.output_tokens
        limits = self.limits
        yield BudgetExceeded(name="turns", bound=limits.turns, observed=self.turns, unit="turns")
        yield BudgetExceeded(name="tokens", bound=limits.tokens, observed=tokens, unit="tokens")
        if self.cost_micros:  # a model without a price costs nothing, which is within a bound of nothing
            spent, unit = self.cost_micros, "millionths of a US dollar"
            yield BudgetExceeded(name="cost", bound=limits.cost_micros, observed=spent, unit=unit)
        if self._output is not None:
            most_bytes, written = self._output
            observed = self._output_before + written()
            yield BudgetExceeded(name="output", bound=most_bytes, observed=observed, unit="bytes")
        yield self._wall_state()

    def _wall_state(self) -> BudgetExceeded:
        seconds = int(self.elapsed_seconds)
        return BudgetExceeded(
            name="wall time", bound=int(self.limits.wall_seconds), observed=seconds, unit="seconds"
        )


def warning_of(state: BudgetExceeded) -> str:
    """Return what the model is told of a budget that is nearly used up."""
    return (
        f"{_WARNING}{state.name}: {state.observed} of {state.bound} {state.unit} are used; "
        "finish what matters most and call `finish`"
    )


_WARNING: Final = "note: little is left of the budget of "


def warned_of(text: str) -> str:
    """Return the budget that a message warned of; empty when it is no warning."""
    return text.removeprefix(_WARNING).partition(":")[0] if text.startswith(_WARNING) else ""


def limits_of_policy(policy: Policy) -> BudgetLimits:
    """Return the bounds as the policy sets them."""
    budget = policy.budget
    return BudgetLimits(
        turns=int(budget.turns),
        tokens=int(budget.tokens),
        wall_seconds=float(budget.wall_time),
        cost_micros=round(budget.cost_usd * _MICROS),
    )


def parse_budget(words: str) -> BudgetLimits:
    """Return what `turns=10,tokens=50k,cost_usd=1.50,wall_time=10m` adds.

    Raises:
        InvalidInputError: When a name is unknown, a value is no amount, or nothing is added.
    """
    added: dict[str, float] = {}
    for part in words.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in NAMES or name in added:
            raise InvalidInputError(
                f"`{part.strip()}` adds to no budget, expected {' or '.join(f'{name}=…' for name in NAMES)}, "
                "each once",
                hint="for example `--add-budget turns=10,tokens=50k,cost_usd=1.50,wall_time=10m`",
            )
        added[name] = _amount(name, value)
    return BudgetLimits(
        turns=int(added.get("turns", 0)),
        tokens=int(added.get("tokens", 0)),
        wall_seconds=added.get("wall_time", 0.0),
        cost_micros=round(added.get("cost_usd", 0.0) * _MICROS),
    )


def _amount(name: str, value: str) -> float:
    try:
        amount = _parsed(name, value)
    except (PolicyError, ValueError) as error:
        raise InvalidInputError(f"`{name}={value}`: {error}") from error
    if amount < (1 / _MICROS if name == "cost_usd" else 1):
        raise InvalidInputError(f"`{name}={value}` adds nothing, expected more than zero")
    return amount


def _parsed(name: str, value: str) -> float:
    match name:
        case "wall_time":
            return float(parse_duration(value))
        case "cost_usd":
            if not _DOLLARS.fullmatch(value):
                raise ValueError("expected US dollars, for example `1.50`")
            return float(value)
        case _:
            return float(parse_count(int(value) if value.isdecimal() else value))


def spelled(added: BudgetLimits) -> str:
    """Return an addition in the form that `parse_budget` reads."""
    parts = (("turns", added.turns), ("tokens", added.tokens))
    dollars = [f"cost_usd={added.cost_micros / _MICROS:.6f}"] if added.cost_micros else []
    seconds = [f"wall_time={int(added.wall_seconds)}s"] if added.wall_seconds else []
    return ",".join([*(f"{name}={amount}" for name, amount in parts if amount), *dollars, *seconds])
