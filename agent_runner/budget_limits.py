"""Say what a session may use, and what a person adds: the bounds, their names, and how they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from agent_runner.errors import InvalidInputError
from policies.errors import BadValueError
from policies.units import parse_count, parse_duration, parse_size
from policies.wording import quoted
from sandbox.egress.rules import Limits, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_runner.used import Used
    from policies.network_block import EgressRule
    from policies.policy import Policy
    from sandbox.egress.rules import Crossed

_MICROS: Final = 1_000_000
_SHORTEST_MICROS: Final = 100
"""Of a cost in a policy: smaller amounts are written with an exponent, as in `9e-05`, which none knows."""
_DOLLARS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_BOUNDED_BY_TOKENS: Final = 10**12


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
    input_tokens: int = _BOUNDED_BY_TOKENS
    output_tokens: int = _BOUNDED_BY_TOKENS
    cached_tokens: int = _BOUNDED_BY_TOKENS
    actions: int = 5000
    """Actions, those that were denied or meant nothing among them."""
    sent_bytes: int = 0
    """Through the egress gate, as the policy's `network.limits` have it; 0 in a session without `network`."""
    received_bytes: int = 0
    """The same, for what comes in."""
    requests: int = 0
    """The same, for requests and connections."""

    def plus(self, more: BudgetLimits) -> BudgetLimits:
        """Return these bounds with others added."""
        return _each(self, more, lambda own, other: own + other)

    def least(self, most: BudgetLimits) -> BudgetLimits:
        """Return the smaller of each bound."""
        return _each(self, most, min)

    def less(self, taken: BudgetLimits) -> BudgetLimits:
        """Return what of each bound is left; nothing is less than nothing."""
        return _each(self, taken, lambda own, other: max(0, own - other))


def _each(one: BudgetLimits, other: BudgetLimits, both: Callable[[float, float], float]) -> BudgetLimits:
    names = (field.name for field in fields(BudgetLimits))
    made: dict[str, Any] = {name: both(getattr(one, name), getattr(other, name)) for name in names}
    return BudgetLimits(**made)


NOTHING: Final = BudgetLimits(
    turns=0, tokens=0, wall_seconds=0.0, input_tokens=0, output_tokens=0, cached_tokens=0, actions=0
)
_COUNTS: Final = ("turns", "tokens", "input_tokens", "output_tokens", "cached_tokens", "actions", "requests")
_SIZES: Final = ("sent_bytes", "received_bytes")
NAMES: Final = (*_COUNTS, *_SIZES, "cost_usd", "wall_time")


def limits_of_policy(policy: Policy) -> BudgetLimits:
    """Return the bounds as the policy sets them."""
    budget, network = policy.budget, policy.network
    return BudgetLimits(
        turns=int(budget.turns),
        tokens=int(budget.tokens),
        wall_seconds=float(budget.wall_time),
        cost_micros=round(budget.cost_usd * _MICROS),
        input_tokens=int(budget.input_tokens),
        output_tokens=int(budget.output_tokens),
        cached_tokens=int(budget.cached_tokens),
        actions=int(budget.actions),
        sent_bytes=int(network.limits.sent_bytes) if network else 0,
        received_bytes=int(network.limits.received_bytes) if network else 0,
        requests=int(network.limits.requests) if network else 0,
    )


def policy_of_limits(policy: Policy, limits: BudgetLimits) -> Policy:
    """Return a policy that has these bounds in place of its own."""
    own = policy.budget
    counts = ("turns", "tokens", "input_tokens", "output_tokens", "cached_tokens", "actions")
    budget = {name: type(getattr(own, name))(getattr(limits, name)) for name in counts}
    budget["wall_time"] = type(own.wall_time)(int(limits.wall_seconds))
    micros = limits.cost_micros // _SHORTEST_MICROS * _SHORTEST_MICROS
    changed: dict[str, object] = {"budget": own.model_copy(update={**budget, "cost_usd": micros / _MICROS})}
    if policy.network is not None:
        across = policy.network.limits
        crossing = {
            name: type(getattr(across, name))(getattr(limits, name)) for name in (*_SIZES, "requests")
        }
        changed["network"] = policy.network.model_copy(update={"limits": across.model_copy(update=crossing)})
    return policy.replaced(**changed)


def less_egress(limits: BudgetLimits, below: Used | None) -> BudgetLimits:
    """Return the bounds less what earlier sessions below sent and received."""
    if below is None:
        return limits
    left = {name: max(0, getattr(limits, name) - getattr(below, name)) for name in (*_SIZES, "requests")}
    return replace(limits, **left)


def less_crossed(policy: Policy, crossed: Mapping[str, Crossed]) -> Policy:
    """Return a policy whose egress rules have what is left of their own limits.

    Args:
        policy: The policy.
        crossed: Rule -> what went through under it already. What is none of the policy's rules, because a
            session below had it narrowed, counts under each of them.
    """
    if policy.network is None:
        return policy
    names = {Rule.of(rule, Limits()).name for rule in policy.network.allow}
    strays = [each for name, each in crossed.items() if name not in names]
    allow = tuple(_rule_left(rule, crossed, strays) for rule in policy.network.allow)
    return policy.replaced(network=policy.network.model_copy(update={"allow": allow}))


def _rule_left(rule: EgressRule, crossed: Mapping[str, Crossed], strays: Sequence[Crossed]) -> EgressRule:
    own = crossed.get(Rule.of(rule, Limits()).name)
    through = [*strays, *([own] if own is not None else [])]
    if not through:
        return rule
    bounds = ((name, getattr(rule.limits, name)) for name in ("sent_bytes", "received_bytes", "requests"))
    left = {
        name: type(bound)(max(0, bound - sum(getattr(each, name) for each in through)))
        for name, bound in bounds
        if bound is not None
    }
    return rule.model_copy(update={"limits": rule.limits.model_copy(update=left)})


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
                f"{quoted(part.strip())} adds to no budget, expected {' or '.join(f'{n}=…' for n in NAMES)}, "
                "each once",
                hint="for example `--add-budget turns=10,tokens=50k,cost_usd=1.50,wall_time=10m`",
            )
        added[name] = _amount(name, value)
    counted = {name: int(amount) for name, amount in added.items() if name in (*_COUNTS, *_SIZES)}
    return replace(
        NOTHING,
        wall_seconds=added.get("wall_time", 0.0),
        cost_micros=round(added.get("cost_usd", 0.0) * _MICROS),
        **counted,
    )


def _amount(name: str, value: str) -> float:
    try:
        amount = _parsed(name, value)
    except BadValueError as error:
        raise InvalidInputError(f"`{name}`: {error}", hint=error.hint) from error
    if amount < (1 / _MICROS if name == "cost_usd" else 1):
        raise InvalidInputError(f"`{name}={value}` adds nothing, expected more than zero")
    return amount


def _parsed(name: str, value: str) -> float:
    match name:
        case "wall_time":
            return float(parse_duration(value))
        case "cost_usd":
            if not _DOLLARS.fullmatch(value):
                raise BadValueError(f"{quoted(value)} is no amount of US dollars", hint="as in `1.50`")
            return float(value)
        case "sent_bytes" | "received_bytes":  # the name says the unit of a bare number
            return float(parse_size(f"{value}B" if _WHOLE.fullmatch(value) else value))
        case _:
            return float(parse_count(int(value) if _WHOLE.fullmatch(value) else value))


def spelled(added: BudgetLimits) -> str:
    """Return an addition in the form that `parse_budget` reads."""
    parts = ((name, getattr(added, name)) for name in (*_COUNTS, *_SIZES))
    dollars = [f"cost_usd={added.cost_micros / _MICROS:.6f}"] if added.cost_micros else []
    seconds = [f"wall_time={int(added.wall_seconds)}s"] if added.wall_seconds else []
    return ",".join([*(f"{name}={amount}" for name, amount in parts if amount), *dollars, *seconds])
