"""How often tasks pass: estimates from few runs, held to what they estimate and to published values."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.ci.outcome import TaskResult
from agent_runner.ci.rates import pass_at, rate_as_plain, rate_lines, rates_of, wilson
from agent_runner.ci.summary import as_plain, markdown, result_lines

RESULT = TaskResult(name="t", task="t", origin="t.yaml", policy="p", grant="files", model="m")


@pytest.mark.parametrize("runs", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_all_choices_of_k_runs_that_hold_a_passed_one(runs: int) -> None:
    for passed in range(runs + 1):
        outcomes = [True] * passed + [False] * (runs - passed)
        for k in range(1, runs + 1):
            choices = [*combinations(outcomes, k)]
            assert pass_at(runs, passed, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@pytest.mark.parametrize(("runs", "passed", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_pass_at_k_of_more_runs_than_were_made_is_no_number(runs: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at(runs, passed, k)


@pytest.mark.parametrize(
    ("runs", "passed", "low", "high"),
    [(10, 5, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (10, 0, 0.0, 0.2775), (263, 81, 0.2553, 0.3662)],
)
def test_the_interval_is_wilsons(runs: int, passed: int, low: float, high: float) -> None:
    """81 of 263: R. G. Newcombe, Statistics in Medicine 17 (1998), table I, without continuity correction."""
    assert wilson(runs, passed) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 100).flatmap(lambda runs: st.tuples(st.just(runs), st.integers(0, runs))))
def test_the_interval_holds_the_share_and_keeps_within_its_bounds(case: tuple[int, int]) -> None:
    low, high = wilson(*case)

    assert 0.0 <= low <= case[1] / case[0] <= high <= 1.0


def test_repetitions_are_counted_by_task_and_variant_and_what_never_ran_is_not() -> None:
    results = [
        replace(RESULT, name="t.run-1", seconds=1.0, tokens=10, cost_micros=100),
        replace(RESULT, name="t.run-2", code=1, seconds=3.0, tokens=30, cost_micros=300),
        replace(RESULT, name="t.run-3", code=130),
        replace(RESULT, name="t.run-4", is_skipped=True),
        replace(RESULT, name="t.big.run-1", variant="big"),
        replace(RESULT, name="once", task="once"),
    ]

    rates = rates_of(results)

    assert [(rate.name, rate.runs, rate.passed) for rate in rates] == [("t", 2, 1)]
    plain = rate_as_plain(rates[0])
    assert plain["pass_at"] == {"1": 0.5, "2": 1.0}
    assert (plain["seconds"], plain["tokens"], plain["cost_micros"]) == (2.0, 20.0, 200.0)
    assert as_plain(results)["rates"] == [plain]
    line = "t: 1 of 2 passed, 9% to 91%; pass@1 50%, pass@2 100%; a run: 2.0 s, 20 tokens, $0.0002"
    assert [*rate_lines(rates)] == [line]
    assert line in result_lines(results)
    assert "| 1 of 2 | 9% to 91% |" in markdown(results)


def test_a_run_without_repetitions_has_no_rates() -> None:
    assert rates_of([RESULT, replace(RESULT, task="u")]) == []
    assert "How often" not in markdown([RESULT])
