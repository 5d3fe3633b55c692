from __future__ import annotations

import pytest

from policies.capability import Capability
from policies.grant import Grant
from policies.lineage import (
    Contribution,
    Label,
    decide_continuation,
    decide_delegation,
    decide_lineage,
    exercised_below,
)
from policies.request import Allowed, Denied

F, N, E = Capability.FILES, Capability.NETWORK, Capability.EXEC


def _codes(decision: Allowed | Denied) -> tuple[str, ...]:
    return tuple(reason.code for reason in decision.reasons) if isinstance(decision, Denied) else ()


@pytest.mark.parametrize("grant", Grant)
@pytest.mark.parametrize("former", Grant)
def test_a_workspace_is_refused_exactly_when_grant_and_label_make_three(grant: Grant, former: Grant) -> None:
    label = Label().written_by("abc", former.capabilities)

    decision = decide_lineage(grant, label)

    makes_three = grant.capabilities | former.capabilities == frozenset(Capability)
    assert _codes(decision) == (("lineage",) if makes_three else ())


@pytest.mark.parametrize("grant", Grant)
def test_a_reviewed_workspace_takes_every_grant(grant: Grant) -> None:
    assert decide_lineage(grant, Label()) == Allowed()


def test_the_refusal_names_only_the_sessions_that_made_the_label() -> None:
    label = Label((Contribution("fetcher", frozenset({F, N})), Contribution("reader", frozenset({F}))))

    decision = decide_lineage(Grant.FILES_EXEC, label)

    assert isinstance(decision, Denied)
    assert "`fetcher`" in decision.reasons[0].message
    assert "`reader`" not in decision.reasons[0].message


def test_two_single_capabilities_of_two_sessions_add_up() -> None:
    label = Label().written_by("one", frozenset({N})).written_by("two", frozenset({F}))

    assert _codes(decide_lineage(Grant.EXEC, label)) == ("lineage",)
    assert decide_lineage(Grant.FILES_NETWORK, label) == Allowed()


def test_copying_in_joins_both_histories_and_loses_none() -> None:
    here = Label().written_by("one", frozenset({N}))
    there = Label().written_by("two", frozenset({E})).written_by("one", frozenset({F}))

    joined = here.joined(there)

    assert joined.capabilities == frozenset({F, N, E})
    assert joined.contributions[0] == Contribution("one", frozenset({F, N}))
    assert joined.capabilities == there.joined(here).capabilities


@pytest.mark.parametrize("parent", Grant)
@pytest.mark.parametrize("child", Grant)
def test_a_child_holds_nothing_that_its_parent_does_not(parent: Grant, child: Grant) -> None:
    decision = decide_delegation(parent, child)

    assert isinstance(decision, Allowed) == (child.capabilities <= parent.capabilities)


@pytest.mark.parametrize("granted", Grant)
@pytest.mark.parametrize("wanted", Grant)
def test_a_session_goes_on_only_with_exactly_its_grant(granted: Grant, wanted: Grant) -> None:
    assert isinstance(decide_continuation(granted, wanted), Allowed) == (granted is wanted)


@pytest.mark.parametrize("parent", Grant)
@pytest.mark.parametrize("child", Grant)
def test_a_child_counts_with_what_its_parent_exercised(parent: Grant, child: Grant) -> None:
    exercised = exercised_below(parent.capabilities, child)

    assert exercised == parent.capabilities | child.capabilities
    if isinstance(decide_delegation(parent, child), Allowed):
        assert exercised == parent.capabilities


def test_a_childs_writes_carry_its_parents_capabilities_into_the_label() -> None:
    label = Label().written_by("child", exercised_below(Grant.FILES_NETWORK.capabilities, Grant.FILES))

    assert _codes(decide_lineage(Grant.FILES_EXEC, label)) == ("lineage",)
