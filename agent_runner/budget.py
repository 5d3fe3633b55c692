"""Count what a session uses against what its policy allows; warn at 80 %, end at the bound."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.budget_limits import BudgetLimits
from agent_runner.budget_state import Measure, warning_of
from agent_runner.used import Used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent_runner.backends.backend import Usage
    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.used import Crossing

WARN_SHARE: Final = 0.8
_NOTHING: Final = Used()
_ONE_ACTION: Final = Used(actions=1)


def _nothing() -> Crossing:
    return _NOTHING


class Budget:
    """Count turns, tokens, cost, actions, what crosses the egress gate, and time.

    A session that delegates and those below it have one pot: what a child counts, all above it count.

    Args:
        limits: The bounds.
        used: What was used before, in a session that goes on.
        below: What delegated sessions of it used before.
        above: The budget of the session that delegated to this one.
        priced: Whether what the model says costs something, before it has said anything.
        monotonic: A clock in seconds.
    """

    def __init__(  # noqa: PLR0913 - what was used, by whom, and what bounds it
        self,
        limits: BudgetLimits,
        *,
        used: Used | None = None,
        below: Used | None = None,
        above: Budget | None = None,
        priced: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        before = used or Used()
        self.limits = limits
        self.own = before._replace(warned=frozenset())
        self._below = below or _NOTHING
        self._above = above
        self._priced = priced
        self._warned = set(before.warned)
        self._output: tuple[int, Callable[[], int]] | None = None
        self._crossed: Callable[[], Crossing] = _nothing
        self._monotonic = monotonic
        self._start = monotonic() - before.seconds

    @property
    def turns(self) -> int:
        """Return how often this session's model was asked."""
        return self.own.turns

    @property
    def input_tokens(self) -> int:
        """Return the tokens that its model read."""
        return self.own.input_tokens

    @property
    def output_tokens(self) -> int:
        """Return the tokens that its model wrote."""
        return self.own.output_tokens

    @property
    def cached_tokens(self) -> int:
        """Return the tokens in that the server had cached."""
        return self.own.cached_tokens

    @property
    def cost_micros(self) -> int:
        """Return what its model cost, in millionths of a US dollar."""
        return self.own.cost_micros

    @property
    def _all(self) -> Used:
        return self.own if self._below is _NOTHING else self.own.beside(self._below)

    @property
    def used(self) -> Used:
        """Return what this session and those below it used."""
        crossed = self._crossed()
        return self._all._replace(
            sent_bytes=crossed.sent_bytes + self._below.sent_bytes,
            received_bytes=crossed.received_bytes + self._below.received_bytes,
            requests=crossed.requests + self._below.requests,
        )

    @property
    def left(self) -> BudgetLimits:
        """Return what a session below this one may use at most."""
        used = self.used
        return self.limits.less(
            BudgetLimits(
                turns=used.turns,
                tokens=used.input_tokens + used.output_tokens,
                wall_seconds=self.elapsed_seconds,
                cost_micros=used.cost_micros,
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
                cached_tokens=used.cached_tokens,
                actions=used.actions,
                sent_bytes=used.sent_bytes,
                received_bytes=used.received_bytes,
                requests=used.requests,
            )
        )

    def bound_output(self, most_bytes: int, written: Callable[[], int]) -> None:
        """Bound what all actions together may put out.

        Args:
            most_bytes: The bound.
            written: Tells how much it was since this process began.
        """
        self._output = most_bytes, written

    @property
    def sessions(self) -> int:
        """Return how many sessions were started below the first one of all."""
        return self._above.sessions if self._above is not None else self._all.children

    def close(self) -> None:
        """Tell the sessions above what only the end tells: output, and what crossed the egress gate."""
        if self._above is None:
            return
        written = self._output[1]() if self._output is not None else 0
        crossed = self._crossed()
        self._above.add_below(
            Used(
                output_bytes=written,
                sent_bytes=crossed.sent_bytes,
                received_bytes=crossed.received_bytes,
                requests=crossed.requests,
            )
        )

    def watch_egress(self, crossed: Callable[[], Crossing]) -> None:
        """Look at what crosses the session's gates, its own and its connectors', which bound it.

        Args:
            crossed: Tells how much it was in the session's whole life.
        """
        self._crossed = crossed

    def count(self, usage: Usage) -> None:
        """Count one turn."""
        self.add(
            Used(
                turns=1,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                cost_micros=usage.cost_micros,
            )
        )

    def count_action(self) -> None:
        """Count one action."""
        self.add(_ONE_ACTION)

    def add(self, used: Used) -> None:
        """Count what this session used."""
        self.own = self.own.beside(used)
        if self._above is not None:
            self._above.add_below(used)

    def add_below(self, used: Used) -> None:
        """Count what a session below this one used."""
        self._below = self._below.beside(used)
        if self._above is not None:
            self._above.add_below(used)

    @property
    def elapsed_seconds(self) -> float:
        """Return the time during which the session has run."""
        return self._monotonic() - self._start

    @property
    def seconds_left(self) -> float:
        """Return the time until the wall clock runs out; 0 when it has."""
        return max(0.0, self.limits.wall_seconds - self.elapsed_seconds)

    def exceeded(self, measures: Sequence[Measure] | None = None) -> BudgetExceeded | None:
        """Return the first budget that has nothing left, before another turn is asked for.

        There is one pot: where a session above has nothing left, this one has not either. What crosses the
        egress gate is not among them: the gate refuses, and the session goes on.

        Args:
            measures: What was just measured; None to measure.
        """
        for measure in self.measures() if measures is None else measures:
            if measure.observed >= measure.bound:
                return measure.state()
        return self._above.exceeded() if self._above is not None else None

    def out_of_actions(self) -> BudgetExceeded | None:
        """Return the budget of actions when it has nothing left for another one."""
        actions = self._actions()
        if actions.observed >= actions.bound:
            return actions.state()
        return self._above.out_of_actions() if self._above is not None else None

    def out_of_time(self) -> BudgetExceeded:
        """Return the wall clock's budget, which has just run out."""
        wall = self._wall().state()
        return replace(wall, observed=max(wall.observed, wall.bound))

    def warnings(self, measures: Sequence[Measure] | None = None) -> list[str]:
        """Return a line for each budget that has passed 80 % since it was last asked.

        Args:
            measures: As in `exceeded`.
        """
        measured = self.measures() if measures is None else measures
        passed = [
            measure
            for measure in (*measured, *self._egress())
            if measure.observed >= WARN_SHARE * measure.bound and measure.name not in self._warned
        ]
        self._warned.update(measure.name for measure in passed)
        return [warning_of(measure.state()) for measure in passed]

    def states(self) -> list[BudgetExceeded]:
        """Return how much of each budget is used, for a person's eyes."""
        return [measure.state() for measure in (*self.measures(), *self._egress())]

    def measures(self) -> list[Measure]:
        """Return how much of each budget is used, but for what crosses the egress gate."""
        return list(self._measures())

    def _measures(self) -> Iterator[Measure]:
        used, limits = self._all, self.limits
        tokens = used.input_tokens + used.output_tokens
        yield Measure("turns", limits.turns, used.turns, "turns")
        yield Measure("tokens", limits.tokens, tokens, "tokens")
        if limits.input_tokens < limits.tokens:  # else `tokens` is the narrower one
            yield Measure("input tokens", limits.input_tokens, used.input_tokens, "tokens")
        if limits.output_tokens < limits.tokens:
            yield Measure("output tokens", limits.output_tokens, used.output_tokens, "tokens")
        if limits.cached_tokens < limits.tokens:
            yield Measure("cached tokens", limits.cached_tokens, used.cached_tokens, "tokens")
        # A model without a price costs nothing, which is within a bound of nothing.
        if used.cost_micros or (self._priced and not limits.cost_micros):
            yield Measure("cost", limits.cost_micros, used.cost_micros, "millionths of a US dollar")
        yield self._actions()
        if self._output is not None:
            most_bytes, written = self._output
            yield Measure("output", most_bytes, used.output_bytes + written(), "bytes")
        yield self._wall()

    def _actions(self) -> Measure:
        return Measure("actions", self.limits.actions, self._all.actions, "actions")

    def _egress(self) -> Iterator[Measure]:
        crossed, below, limits = self._crossed(), self._below, self.limits
        for name, bound, observed, unit in (
            ("bytes sent", limits.sent_bytes, crossed.sent_bytes + below.sent_bytes, "bytes"),
            ("bytes received", limits.received_bytes, crossed.received_bytes + below.received_bytes, "bytes"),
            ("requests", limits.requests, crossed.requests + below.requests, "requests"),
        ):
            if bound or observed:
                yield Measure(name, bound, observed, unit)

    def _wall(self) -> Measure:
        return Measure("wall time", int(self.limits.wall_seconds), int(self.elapsed_seconds), "seconds")
