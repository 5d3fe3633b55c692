"""What crosses is counted in every account that it belongs to, whichever of them is spent first."""

from __future__ import annotations

import pytest

from policies.hosts import HostPattern
from sandbox.egress.budget import Budget, BudgetSpentError
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.events import Spent
from sandbox.egress.rules import Crossed, Limits, Rule

FEW = Rule(host=HostPattern.parse("a.example.com"), limits=Limits(received_bytes=10, connections=1))


def test_bytes_beyond_a_rules_bound_are_the_sessions_too() -> None:
    budget = Budget(Limits(received_bytes=100))
    share = budget.share(FEW)

    with pytest.raises(EgressDeniedError, match=r"rule `a.example.com` is spent: 10 bytes received"):
        share.receive(90)
    with pytest.raises(EgressDeniedError, match="the session is spent: 100 bytes received"):
        budget.share(None).receive(11)

    assert budget.session.received_bytes == 101
    assert share.received_bytes == 90


def test_a_tunnel_that_is_read_is_no_connection_beside_its_requests() -> None:
    budget = Budget(Limits(connections=1))
    tunnel, request, further = (budget.share(None) for _ in range(3))

    tunnel.open(0)
    request.open()
    with pytest.raises(EgressDeniedError, match="1 connections at once"):
        further.open()

    request.close()
    tunnel.close()
    further.open()
    assert budget.session.connections == 1


def test_a_connection_ends_once() -> None:
    budget = Budget(Limits(connections=1))
    share = budget.share(None)
    share.open()

    share.close()
    share.close()

    assert budget.session.connections == 0


def test_what_one_account_refuses_is_counted_in_none() -> None:
    budget = Budget(Limits())
    first, second = budget.share(FEW), budget.share(FEW)
    first.open()

    with pytest.raises(EgressDeniedError, match=r"rule `a.example.com` is spent: 1 connections"):
        second.open()

    assert (budget.session.requests, budget.session.connections) == (1, 1)


@pytest.mark.parametrize("limit", ["sent_bytes", "received_bytes", "requests"])
def test_what_crossed_before_counts_for_the_session_and_for_its_own_rule(limit: str) -> None:
    """The twin of each is another rule, or the same budget with less in it."""
    other = Rule(host=HostPattern.parse("b.example.com"))
    before = (Crossed(rule=FEW.name, **{limit: 10}), Crossed(rule=other.name, **{limit: 90}))

    with pytest.raises(EgressDeniedError, match="the session is spent: 100"):
        Budget(Limits(**{limit: 100}), before).share(None).open()
    own = Rule(host=FEW.host, limits=Limits(**{limit: 10}))
    with pytest.raises(EgressDeniedError, match=r"rule `a.example.com` is spent: 10"):
        Budget(Limits(**{limit: 101}), before, rules=(own, other)).share(own).open()

    Budget(Limits(**{limit: 101}), before).share(None).open()
    Budget(Limits(**{limit: 101}), before[1:], rules=(own, other)).share(own).open()


def test_what_crossed_under_a_rule_that_is_not_in_force_counts_under_each_that_is() -> None:
    """Nobody can say any more which of them it was, so it is every one."""
    before = (Crossed(rule="pairlock.yaml:7:14", received_bytes=10),)

    with pytest.raises(EgressDeniedError, match=r"rule `a.example.com` is spent: 10"):
        Budget(Limits(), before, rules=(FEW,)).share(FEW).open()

    Budget(Limits(), rules=(FEW,)).share(FEW).open()


def test_a_bound_that_is_reached_is_news_once() -> None:
    budget = Budget(Limits(sent_bytes=5))
    told = []
    for _ in range(2):
        with pytest.raises(BudgetSpentError) as spent:
            budget.share(None).send(7)
        told.append(spent.value.news(action="s/1"))

    assert told == [Spent(limit="egress.sent_bytes", bound=5, observed=7, unit="bytes", action="s/1"), None]


def test_a_tunnel_that_broke_off_bars_further_tunnels_and_no_request() -> None:
    budget = Budget(Limits(sent_bytes=5))
    tunnel = budget.share(None)
    tunnel.open(unseen=True)
    with pytest.raises(BudgetSpentError):
        tunnel.send(7)

    with pytest.raises(BudgetSpentError):
        budget.share(None).open(unseen=True)
    budget.share(None).open()
