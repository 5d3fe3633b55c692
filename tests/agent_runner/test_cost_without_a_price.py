"""A bound on the cost of a model without a price bounds nothing, which is said before the session starts."""

from __future__ import annotations

import pytest

from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.configuration import Price
from agent_runner.backends.server import Server
from agent_runner.cli.run import is_cost_unknown
from policies.source import parse_policy
from tests.agent_runner.stand import POLICY, script

URL = "http://127.0.0.1:9/v1"
BOUND = POLICY + "budget: {cost_usd: 1.5}\n"


@pytest.mark.parametrize(
    ("policy", "price", "unknown"),
    [
        (BOUND, None, True),
        (BOUND, Price(input=1, output=2), False),
        (POLICY, None, False),
    ],
    ids=["no price", "a price", "no bound in the policy's own words"],
)
def test_a_bound_of_cost_is_told_to_bound_nothing_without_a_price(
    policy: str, price: Price | None, *, unknown: bool
) -> None:
    backend = OpenAIBackend(Server(base_url=URL, model="m", price=price), name="default")

    assert is_cost_unknown(parse_policy(policy, origin="test.yaml"), backend) is unknown


def test_a_script_costs_nothing_and_nothing_is_said_of_it() -> None:
    assert not is_cost_unknown(parse_policy(BOUND, origin="test.yaml"), script(["finish --status done ok"]))
