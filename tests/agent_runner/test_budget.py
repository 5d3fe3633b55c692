"""What a person adds to a budget, and what a budget says of itself before it runs out."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.backends.backend import Usage, UserMessage
from agent_runner.backends.configuration import Price
from agent_runner.budget import Budget
from agent_runner.budget_limits import (
    NOTHING,
    BudgetLimits,
    limits_of_policy,
    parse_budget,
    policy_of_limits,
    spelled,
)
from agent_runner.errors import InvalidInputError
from agent_runner.traffic import Traffic
from agent_runner.used import Used
from audit.event import LimitHit
from policies.source import parse_policy
from tests.agent_runner.stand import FINISH, Model, lines

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

LIMITS = BudgetLimits(turns=10, tokens=1000, wall_seconds=100.0, cost_micros=1_000_000)
CHEAP = "version: 1\nname: x\ngrant: [files]\nbudget: {cost_usd: 1}\n"


def test_a_session_below_has_nothing_left_where_the_one_above_has_not() -> None:
    """One pot: what the one above uses meanwhile, by programs in the background for one, is gone for both."""
    above = Budget(LIMITS)
    below = Budget(replace(LIMITS, turns=5), above=above)
    fresh = below.exceeded(), below.out_of_actions()

    above.add(Used(turns=10, actions=LIMITS.actions))

    assert fresh == (None, None)
    assert (below.exceeded(), below.out_of_actions()) == (above.exceeded(), above.out_of_actions())
    assert above.exceeded() is not None
    assert above.out_of_actions() is not None


WHOLE = st.integers(0, 2**53 - 1)


@given(
    added=st.builds(
        BudgetLimits,
        **{field.name: WHOLE for field in fields(BudgetLimits)}
        | {"wall_seconds": WHOLE.map(float), "cost_micros": st.integers(0, 10**12 - 1)},
    )
)
def test_what_was_added_is_read_back_from_the_ledger_as_it_was(added: BudgetLimits) -> None:
    if added != NOTHING:
        assert parse_budget(spelled(added)) == added


@pytest.mark.parametrize(
    ("words", "bound"),
    [("sent_bytes=1024", 1024), ("sent_bytes=1KiB", 1024), ("sent_bytes=5kB", 5000)],
)
def test_a_number_of_bytes_has_its_unit_from_its_name(words: str, bound: int) -> None:
    """So it stands in ledgers that were written before sizes were spelled with one."""
    assert parse_budget(words) == replace(NOTHING, sent_bytes=bound)


WRONG = {
    "wall_time=10": ("`wall_time`: `10` has no unit of time", "units are s, m, h, d, as in `30m`"),
    "turns=1.5": ("`turns`: `1.5` is not a count", "write a whole number and a unit, as in `400k`"),
    "turns=\u0663": ("`turns`: `\u0663` is not a count", "write a whole number and a unit, as in `400k`"),
    "cost_usd=1e5": ("`cost_usd`: `1e5` is no amount of US dollars", "as in `1.50`"),
    "turns=" + "9" * 5000: (
        f"`turns`: `{'9' * 79}…` is not a count", "write a whole number and a unit, as in `400k`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=lambda words: words[:20])
def test_an_amount_that_is_none_is_told_in_one_short_line_and_how_it_is_written(words: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_budget(words)

    assert (raised.value.message, raised.value.hint) == WRONG[words]


@pytest.mark.parametrize(
    "words", ["", "turns", "turns=0", "turns=-1", "turns=1,turns=2", "money=1", "wall_time=0s", "tokens=all"]
)
def test_what_adds_to_nothing_is_refused(words: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_budget(words)


@pytest.mark.parametrize("amount", ["0", "1e9", "nan", "-1", "0.0000001", "1.5.0", "", "\u0661"])
def test_a_cost_that_is_no_amount_of_dollars_is_refused(amount: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_budget(f"cost_usd={amount}")


def test_each_budget_warns_once_at_80_percent_and_not_before() -> None:
    clock = 0.0
    budget = Budget(LIMITS, monotonic=lambda: clock)

    budget.count(Usage(input_tokens=700, output_tokens=99, cost_micros=799_999))
    before = budget.warnings()
    clock = 80.0
    budget.count(Usage(output_tokens=1, cost_micros=1))
    first, second = budget.warnings(), budget.warnings()

    assert before == []
    assert [line.split(" of ")[2].partition(":")[0] for line in first] == ["tokens", "cost", "wall time"]
    assert second == []


def test_a_model_without_a_price_is_no_cost_even_within_a_bound_of_nothing() -> None:
    free = Budget(replace(LIMITS, cost_micros=0))

    free.count(Usage(input_tokens=1))

    assert free.exceeded() is None


class Dear(Model):
    """A model whose operator named a price."""

    def priced(self, usage: Usage) -> Usage:
        """Return what the tokens cost."""
        return Price(input=1, output=1).priced(usage)


async def test_a_budget_of_no_cost_asks_a_model_with_a_price_nothing(stand: Stand) -> None:
    """Not even the one question after which it would be spent; a model without a price is free."""
    dear, free = Dear(lambda *_: FINISH), Model(lambda *_: FINISH)
    nothing = CHEAP.replace("cost_usd: 1", "cost_usd: 0")

    refused = await stand.run(dear, nothing)
    done = await stand.run(free, nothing, session="zyxwvtsrqpnm")

    assert (refused.status, dear.heard) == ("budget", [])
    assert refused.reason == "the budget of cost ran out: 0 of 0 millionths of a US dollar"
    assert (done.status, len(free.heard)) == ("done", 1)


async def test_the_model_is_warned_of_the_cost_and_a_person_can_add_to_it(stand: Stand) -> None:
    """80 % warns within the conversation, the bound ends with exit 5, and `resume --add-budget` goes on."""
    spent = Usage(cost_micros=450_000)
    dear = Model(lambda _, turn: replace(lines(f"files list --depth {turn}"), usage=spent))
    last = Model(lambda _, __: replace(FINISH, usage=spent))

    ran_out = await stand.run(dear, CHEAP)
    again = await stand.resume(last)
    more = await stand.resume(last, added=parse_budget("cost_usd=0.75"))

    warned = [m.text for m in dear.heard[-1] if isinstance(m, UserMessage) and "budget of cost" in m.text]
    assert len(warned) == 1
    assert (ran_out.exit_code, again.exit_code, more.exit_code) == (5, 5, 0)
    assert again.reason == "the budget of cost ran out: 1350000 of 1000000 millionths of a US dollar"
    assert [e["limit"] for e in stand.entries("limit.hit")] == ["budget.cost", "budget.cost"]
    assert [e["cost_micros"] for e in stand.entries("model.answered")] == [450_000] * 4


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("input tokens", Usage(input_tokens=50)),
        ("output tokens", Usage(output_tokens=50)),
        ("cached tokens", Usage(input_tokens=50, cached_tokens=50)),
    ],
)
def test_tokens_in_out_and_cached_have_bounds_of_their_own(name: str, usage: Usage) -> None:
    limits = replace(LIMITS, **{name.replace(" ", "_"): 50})
    bounded, other = Budget(limits), Budget(LIMITS)

    bounded.count(usage)
    other.count(usage)

    exceeded = bounded.exceeded()
    assert exceeded is not None
    assert exceeded.reason == f"the budget of {name} ran out: 50 of 50 tokens"
    assert other.exceeded() is None


async def test_actions_end_hard_at_the_call_and_a_person_can_add_to_them(stand: Stand) -> None:
    """The third call of a reply is not made; with more it is, and nothing is made twice."""
    policy = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\nbudget: {actions: 2}\n'
    three = lines("files list", "files list --depth 2", "files list --depth 3")
    model = Model(lambda _, turn: three if turn == 1 else FINISH)

    ran_out = await stand.run(model, policy)
    made = len(stand.entries("action.intended"))
    more = await stand.resume(model, added=parse_budget("actions=2"))

    assert (ran_out.exit_code, ran_out.reason) == (5, "the budget of actions ran out: 2 of 2 actions")
    assert [entry["limit"] for entry in stand.entries("limit.hit")] == ["budget.actions"]
    assert made == 2
    assert (more.status, more.exit_code) == ("done", 0)
    assert [entry["argv"][-1] for entry in stand.entries("action.intended")] == ["list", "2", "3", "ok"]


def test_what_a_child_counts_every_session_above_it_counts() -> None:
    top = Budget(LIMITS)
    middle = Budget(top.left, above=top)
    bottom = Budget(middle.left, above=middle)

    middle.count(Usage(input_tokens=100))
    bottom.count(Usage(output_tokens=200, cost_micros=5))
    bottom.add(Used(actions=1))

    assert (top.turns, middle.turns, bottom.turns) == (0, 1, 1)
    assert (top.used.turns, top.used.input_tokens, top.used.output_tokens) == (2, 100, 200)
    assert (top.used.cost_micros, top.used.actions) == (5, 1)
    assert (top.left.turns, top.left.tokens, middle.left.tokens) == (8, 700, 700)


def test_the_pot_that_a_child_emptied_is_empty_for_its_parent() -> None:
    top = Budget(LIMITS)
    child = Budget(top.left, above=top)

    child.count(Usage(output_tokens=1000))

    assert [budget.exceeded().name for budget in (top, child) if budget.exceeded()] == ["tokens", "tokens"]  # type: ignore[union-attr]


def test_the_model_is_warned_of_what_crosses_the_gate_which_ends_no_session_by_itself() -> None:
    crossed = Used(sent_bytes=80, received_bytes=1, requests=3)
    budget = Budget(replace(LIMITS, sent_bytes=100, received_bytes=100, requests=3))
    budget.watch_egress(lambda: crossed)

    warned = budget.warnings()

    assert [line.split(" of ")[2].partition(":")[0] for line in warned] == ["bytes sent", "requests"]
    assert budget.exceeded() is None


def test_only_a_spent_budget_of_the_gate_counts_as_one() -> None:
    """A bound on connections at once gives way when one ends; bytes and requests do not come back."""
    passing, spent = Traffic(), Traffic()

    passing.take(LimitHit(limit="egress.connections", bound=1, observed=2, unit="connections"))
    spent.take(LimitHit(limit="egress.rule.sent_bytes", bound=1, observed=2, unit="bytes"))

    assert passing.spent is None
    assert spent.spent is not None
    assert spent.spent.unit == "bytes"


@given(micros=st.integers(0, 10**9))
def test_what_is_left_of_a_cost_is_written_so_that_it_is_read_back_and_never_more(micros: int) -> None:
    policy = parse_policy(CHEAP, origin="test.yaml")

    left = policy_of_limits(policy, replace(limits_of_policy(policy), cost_micros=micros))

    read = limits_of_policy(parse_policy(left.as_yaml(), origin="kept.yaml", resolved=True)).cost_micros
    assert micros - 100 < read <= micros
