"""Estimate how often a task passes from repetitions of it: pass@k, an interval, what it takes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.ci.outcome import INTERRUPTED
from agent_runner.counted import counted
from audit.markdown import inert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent_runner.ci.outcome import TaskResult
    from policies.canonical import Plain

_Z: Final = 1.959963984540054
"""The 97.5th percentile of the normal distribution, for an interval of 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often one task passed, under one model, policy and seed."""

    task: str
    variant: str
    """Empty where the task has no matrix."""
    runs: int
    """Those that were started and not interrupted."""
    passed: int
    low: float
    """Of the interval of 95 % around the share that passed (Wilson)."""
    high: float
    pass_at: tuple[tuple[int, float], ...]
    """k, and the estimated chance that of k runs at least one passes; for each power of two up to `runs`."""
    seconds: float
    """Of a run, on average."""
    tokens: float
    """Of a run, on average."""
    cost_micros: float
    """Of a run, on average; millionths of a US dollar."""

    @property
    def name(self) -> str:
        """Return what people call it."""
        return f"{self.task}.{self.variant}" if self.variant else self.task

    @property
    def share(self) -> float:
        """Return the share that passed."""
        return self.passed / self.runs


def rates_of(results: Sequence[TaskResult]) -> list[Rate]:
    """Return a rate for each task that was run more than once, in their order.

    A run that was skipped or interrupted says nothing of the agent, and is not counted.
    """
    groups: dict[tuple[str, str], list[TaskResult]] = {}
    for result in results:
        if not result.is_skipped and result.code != INTERRUPTED:
            groups.setdefault((result.task, result.variant), []).append(result)
    return [_rate(*key, runs) for key, runs in groups.items() if len(runs) > 1]


def pass_at(runs: int, passed: int, k: int) -> float:
    """Return the chance that of k runs at least one passes, estimated without bias from more runs.

    The estimator is 1 - C(n-c, k) / C(n, k): Chen et al., Evaluating Large Language Models Trained on Code,
    arXiv 2107.03374, section 2.1.

    Args:
        runs: n, how many were made.
        passed: c, how many of them passed.
        k: At most `runs`.
    """
    if not 1 <= k <= runs or not 0 <= passed <= runs:
        raise ValueError(f"pass@{k} of {passed} in {runs}")
    return 1.0 - math.comb(runs - passed, k) / math.comb(runs, k)


def wilson(runs: int, passed: int) -> tuple[float, float]:
    """Return the interval of 95 % for the share that passes, after Wilson.

    It keeps within 0 and 1, and holds for few runs as well: E. B. Wilson, Probable Inference, the Law of
    Succession, and Statistical Inference, JASA 22 (1927).
    """
    share, square = passed / runs, _Z * _Z
    middle = (share + square / (2 * runs)) / (1 + square / runs)
    half = _Z / (1 + square / runs) * math.sqrt(share * (1 - share) / runs + square / (4 * runs * runs))
    # At the ends it is exactly 0 or 1, which floating point misses by a hair.
    return (0.0 if passed == 0 else middle - half), (1.0 if passed == runs else middle + half)


def rate_as_plain(rate: Rate) -> dict[str, Plain]:
    """Return a rate as plain values for JSON."""
    return {
        "task": rate.task,
        "variant": rate.variant,
        "runs": rate.runs,
        "passed": rate.passed,
        "share": _rounded(rate.share),
        "low": _rounded(rate.low),
        "high": _rounded(rate.high),
        "pass_at": {str(k): _rounded(chance) for k, chance in rate.pass_at},
        "seconds": round(rate.seconds, 3),
        "tokens": round(rate.tokens, 1),
        "cost_micros": round(rate.cost_micros, 1),
    }


def rate_lines(rates: Sequence[Rate]) -> Iterator[str]:
    """Yield a line for each rate."""
    for rate in rates:
        yield (
            f"{rate.name}: {rate.passed} of {rate.runs} passed, {_interval(rate)}; {_chances(rate)}; "
            f"a run: {rate.seconds:.1f} s, {counted(round(rate.tokens), 'token')}, {_cost(rate)}"
        )


def rates_markdown(rates: Sequence[Rate]) -> Iterator[str]:
    """Yield a table for a CI's page; nothing where nothing was repeated."""
    if not rates:
        return
    yield "\n### How often\n\n| task | passed | 95 % | pass@k | seconds | tokens | cost |\n"
    yield "| --- | --- | --- | --- | --- | --- | --- |\n"
    for rate in rates:
        cells = (
            inert(rate.name),
            f"{rate.passed} of {rate.runs}",
            _interval(rate),
            inert(_chances(rate)),
            f"{rate.seconds:.1f}",
            f"{rate.tokens:.0f}",
            _cost(rate),
        )
        yield f"| {' | '.join(cells)} |\n"


def _rate(task: str, variant: str, runs: Sequence[TaskResult]) -> Rate:
    count, passed = len(runs), sum(result.verdict == "passed" for result in runs)
    low, high = wilson(count, passed)
    powers = [1 << power for power in range(count.bit_length()) if 1 << power <= count]
    return Rate(
        task=task,
        variant=variant,
        runs=count,
        passed=passed,
        low=low,
        high=high,
        pass_at=tuple((k, pass_at(count, passed, k)) for k in powers),
        seconds=sum(result.seconds for result in runs) / count,
        tokens=sum(result.tokens for result in runs) / count,
        cost_micros=sum(result.cost_micros for result in runs) / count,
    )


def _rounded(share: float) -> float:
    return round(share, 4)


def _interval(rate: Rate) -> str:
    return f"{rate.low:.0%} to {rate.high:.0%}"


def _chances(rate: Rate) -> str:
    return ", ".join(f"pass@{k} {chance:.0%}" for k, chance in rate.pass_at)


def _cost(rate: Rate) -> str:
    return f"${rate.cost_micros / 1_000_000:.4f}"
