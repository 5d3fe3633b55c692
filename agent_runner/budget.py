"""Count what a session uses against what its policy allows; warn at 80 %, end at the bound."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.budget_limits import BudgetLimits
from agent_runner.budget_state import BudgetExceeded, warning_of
from agent_runner.used import Used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent_runner.backends.backend import Usage
    from agent_runner.used import Crossing

WARN_SHARE: Final = 0.8


def _nothing() -> Crossing:
    return Used()


class Budget:
    """Count turns, tokens, cost, actions, what crosses the egress gate, and time.

    A session that delegates and those below it have one pot: what a child counts, all above it count.

    Args:
        limits: The bounds.
        used: What was used before, in a session that goes on.
        below: What delegated sessions of it used before.
        above: The budget of the session that delegated to this one.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        *,
        used: Used | None = None,
        below: Used | None = None,
        above: Budget | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        before = used or Used()
        self.limits = limits
        self.own = replace(before, warned=frozenset())
        self._below = below or Used()
        self._above = above
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
    def used(self) -> Used:
        """Return what this session and those below it used."""
        crossed = self._crossed()
        own = replace(
            self.own,
            sent_bytes=crossed.sent_bytes,
            received_bytes=crossed.received_bytes,
            requests=crossed.requests,
        )
        return own.beside(self._below)

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
        return self._above.sessions if self._above is not None else self.used.children

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

    def exceeded(self) -> BudgetExceeded | None:
        """Return the first budget that has nothing left, before another turn is asked for.

        There is one pot: where a session above has nothing left, this one has not either. What crosses the
        egress gate is not among them: the gate refuses, and the session goes on.
        """
        own = next((state for state in self._states() if state.observed >= state.bound), None)
        return own or (self._above.exceeded() if self._above is not None else None)

    def out_of_actions(self) -> BudgetExceeded | None:
        """Return the budget of actions when it has nothing left for another one."""
        state = self._actions_state()
        if state.observed >= state.bound:
            return state
        return self._above.out_of_actions() if self._above is not None else None

    def out_of_time(self) -> BudgetExceeded:
        """Return the wall clock's budget, which has just run out."""
        wall = self._wall_state()
        return replace(wall, observed=max(wall.observed, wall.bound))

    def warnings(self) -> list[str]:
        """Return a line for each budget that has passed 80 % since it was last asked."""
        passed = [
            state
            for state in (*self._states(), *self._egress_states())
            if state.observed >= WARN_SHARE * state.bound and state.name not in self._warned
        ]
        self._warned.update(state.name for state in passed)
        return [warning_of(state) for state in passed]

    def states(self) -> list[BudgetExceeded]:
        """Return how much of each budget is used, for a person's eyes."""
        return [*self._states(), *self._egress_states()]

    def _states(self) -> Iterator[BudgetExceeded]:
        used, limits = self.used, self.limits
        tokens = used.input_tokens + used.output_tokens
        yield BudgetExceeded(name="turns", bound=limits.turns, observed=used.turns, unit="turns")
        yield BudgetExceeded(name="tokens", bound=limits.tokens, observed=tokens, unit="tokens")
        for name, bound, observed in (
            ("input tokens", limits.input_tokens, used.input_tokens),
            ("output tokens", limits.output_tokens, used.output_tokens),
            ("cached tokens", limits.cached_tokens, used.cached_tokens),
        ):
            if bound < limits.tokens:  # else `tokens` is the narrower one
                yield BudgetExceeded(name=name, bound=bound, observed=observed, unit="tokens")
        if used.cost_micros:  # a model without a price costs nothing, which is within a bound of nothing
            spent, unit = used.cost_micros, "millionths of a US dollar"
            yield BudgetExceeded(name="cost", bound=limits.cost_micros, observed=spent, unit=unit)
        yield self._actions_state()
        if self._output is not None:
            most_bytes, written = self._output
            observed = used.output_bytes + written()
            yield BudgetExceeded(name="output", bound=most_bytes, observed=observed, unit="bytes")
        yield self._wall_state()

    def _actions_state(self) -> BudgetExceeded:
        return BudgetExceeded(
            name="actions", bound=self.limits.actions, observed=self.used.actions, unit="actions"
        )

    def _egress_states(self) -> Iterator[BudgetExceeded]:
        used, limits = self.used, self.limits
        for name, bound, observed, unit in (
            ("bytes sent", limits.sent_bytes, used.sent_bytes, "bytes"),
            ("bytes received", limits.received_bytes, used.received_bytes, "bytes"),
            ("requests", limits.requests, used.requests, "requests"),
        ):
            if bound or observed:
                yield BudgetExceeded(name=name, bound=bound, observed=observed, unit=unit)

    def _wall_state(self) -> BudgetExceeded:
        seconds = int(self.elapsed_seconds)
        return BudgetExceeded(
            name="wall time", bound=int(self.limits.wall_seconds), observed=seconds, unit="seconds"
        )
