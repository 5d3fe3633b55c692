"""Turn figures into the shapes of small charts: numbers and path data, which a template draws as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.budget_limits import BudgetLimits, limits_of_policy
from agent_runner.report.quantity import duration, number, size
from agent_runner.report.times import COLUMNS, Span, drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.report.fold import SessionFold
    from agent_runner.report.usage import Curve
    from policies.policy import Policy

WIDTH: Final = 200
HEIGHT: Final = 40
_WORTH_TELLING_MS: Final = 1000
_MICROS: Final = 1_000_000
_LANES: Final = (("model", "model"), ("sandbox", "sandbox"), ("ledger", "ledger"), ("person", "a person"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """How much of one budget was used, and when."""

    name: str
    used: str
    """In words, with its unit."""
    bound: str
    """The same; empty where the bound is not known."""
    percent: int | None
    """Of the bound; None where that is not known or zero."""
    path: str
    """The rising line, as SVG path data in a box of WIDTH by HEIGHT; its top is the bound."""

    @property
    def level(self) -> str:
        """Return how near the end it is: `unknown`, `ok`, `near` from 80 % on, `out`."""
        if self.percent is None:
            return "unknown"
        return "out" if self.percent >= 100 else "near" if self.percent >= 80 else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDrawn:
    """What time was spent on one thing."""

    name: str
    label: str
    spent: str
    """In words; empty where only the session's end would tell."""
    percent: int | None
    """Of the running time."""
    bars: tuple[tuple[int, int], ...]
    """Where it was spent: (first column, columns) of COLUMNS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Longest:
    """One of the longest waits: for what, from which entry on, and how long in milliseconds."""

    label: str
    seq: int
    length_ms: int


def lanes(fold: SessionFold) -> list[LaneDrawn]:
    """Return the lanes of the session's timeline, with one of its denials where there are any."""
    whole = fold.time.now_ms
    found = [_lane(fold, name, label, whole) for name, label in _LANES]
    denied = [step.begun_ms for step in fold.steps.kept if "denied" in step.tags]
    if denied:
        bars = tuple(drawn([Span(ms, ms + whole // 300) for ms in denied], whole))
        found.append(
            LaneDrawn(name="denied", label="denied", spent=number(len(denied)), percent=None, bars=bars)
        )
    return found


def longest(fold: SessionFold) -> list[Longest]:
    """Return what the session waited for longest, the longest first; under a second is left out."""
    labels = dict(_LANES)
    return [
        Longest(label=labels[wait.lane], seq=wait.seq, length_ms=wait.length_ms)
        for wait in fold.times.longest
        if wait.length_ms >= _WORTH_TELLING_MS
    ]


def _lane(fold: SessionFold, name: str, label: str, whole: int) -> LaneDrawn:
    spent = fold.times.spent_ms(name)
    spans = fold.times.spans.get(name, [])  # type: ignore[call-overload]  # the ledger has no spans
    return LaneDrawn(
        name=name,
        label=label,
        spent="" if spent is None else duration(spent),
        percent=None if spent is None or not whole else min(100, round(100 * spent / whole)),
        bars=tuple(drawn(spans, whole)),
    )


def interruptions(fold: SessionFold) -> list[int]:
    """Return the columns of the timeline at which another runner took over."""
    whole = max(1, fold.time.now_ms)
    return [ms * COLUMNS // whole for ms in fold.time.interruptions]


def gauges(fold: SessionFold, policy: Policy | None) -> list[Gauge]:
    """Return how much of each budget was used; bounds only where the policy is known."""
    usage, whole = fold.usage, fold.time.now_ms
    limits = limits_of_policy(policy).plus(usage.added) if policy else None
    found = [
        _gauge("turns", usage.turns, limits.turns if limits else None, whole, number),
        _gauge("tokens", usage.tokens, limits.tokens if limits else None, whole, number),
        _wall(whole, limits),
    ]
    if usage.cost_micros:
        found.append(_cost(usage.cost_micros, limits))
    network = policy.network if policy else None
    if network is not None or usage.requests.points:
        bound = limits if network else None
        found += [
            _gauge("sent", usage.sent, bound.sent_bytes if bound else None, whole, size),
            _gauge("received", usage.received, bound.received_bytes if bound else None, whole, size),
            _gauge("requests", usage.requests, bound.requests if bound else None, whole, number),
        ]
    return found


def _gauge(name: str, curve: Curve, bound: int | None, whole: int, unit: Callable[[int], str]) -> Gauge:
    top = max(bound or 0, curve.total, 1)
    return Gauge(
        name=name,
        used=unit(curve.total),
        bound="" if bound is None else unit(bound),
        percent=round(100 * curve.total / bound) if bound else None,
        path=_stairs(curve.points, max(1, whole), top),
    )


def _wall(whole: int, limits: BudgetLimits | None) -> Gauge:
    bound = limits.wall_seconds * 1000 if limits else 0
    top = max(bound, whole, 1)
    return Gauge(
        name="running time",
        used=duration(whole),
        bound=duration(bound) if limits else "",
        percent=round(100 * whole / bound) if bound else None,
        path=f"M0 {HEIGHT}L{WIDTH} {HEIGHT - HEIGHT * whole / top:.1f}V{HEIGHT}Z",
    )


def _cost(micros: int, limits: BudgetLimits | None) -> Gauge:
    bound = limits.cost_micros if limits else 0
    share = micros / bound if bound else None
    return Gauge(
        name="cost",
        used=f"${micros / _MICROS:.4f}",
        bound=f"${bound / _MICROS:.2f}" if limits else "",
        percent=None if share is None else round(100 * share),
        path=f"M0 {HEIGHT}V{HEIGHT * (1 - min(1.0, share or 0)):.1f}H{WIDTH}V{HEIGHT}Z",
    )


def _stairs(points: list[tuple[int, int]], whole: int, top: int) -> str:
    """Return a filled line of stairs through points, in a box whose top is `top`."""
    parts = [f"M0 {HEIGHT}"]
    for ms, count in points:
        parts.append(f"H{WIDTH * min(ms, whole) / whole:.1f}V{HEIGHT - HEIGHT * count / top:.1f}")
    return "".join([*parts, f"H{WIDTH}V{HEIGHT}Z"])
