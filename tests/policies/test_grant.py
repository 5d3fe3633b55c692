from __future__ import annotations

from itertools import chain, combinations

import pytest

from policies.capability import Capability, in_order
from policies.errors import ForbiddenGrantError
from policies.grant import Grant


def named(chosen: frozenset[Capability]) -> str:
    """Name a set in the one order, so that every worker collects the same tests."""
    return "+".join(in_order(chosen)) or "none"


SUBSETS = [
    frozenset(chosen) for chosen in chain.from_iterable(combinations(Capability, size) for size in range(4))
]


def test_there_are_eight_sets_and_seven_grants() -> None:
    assert len(SUBSETS) == 8
    assert {grant.value for grant in Grant} == {chosen for chosen in SUBSETS if len(chosen) < 3}


@pytest.mark.parametrize("chosen", [chosen for chosen in SUBSETS if len(chosen) < 3], ids=named)
def test_each_lawful_set_is_one_grant(chosen: frozenset[Capability]) -> None:
    grant = Grant.of(chosen)

    assert grant.capabilities == chosen
    assert [capability for capability in Capability if grant.holds(capability)] == [
        capability for capability in Capability if capability in chosen
    ]


def test_all_three_has_no_name_and_is_refused_with_three_ways_to_split() -> None:
    with pytest.raises(ForbiddenGrantError) as refused:
        Grant.of(Capability)

    assert refused.value.capabilities == frozenset(Capability)
    assert len(refused.value.splits) == 3
    for split in refused.value.splits:
        assert split in str(refused.value)


def test_no_union_of_grants_can_be_looked_up_as_a_member_of_three() -> None:
    with pytest.raises(ValueError, match="is not a valid Grant"):
        Grant(frozenset(Capability))


@pytest.mark.parametrize("first", Grant)
@pytest.mark.parametrize("second", Grant)
def test_meeting_keeps_what_both_hold(first: Grant, second: Grant) -> None:
    both = first.meet(second)

    assert both.capabilities == first.capabilities & second.capabilities
    assert both.within(first)
    assert both.within(second)
    assert first.within(second) == (first.capabilities <= second.capabilities)


def test_labels_are_written_in_one_order() -> None:
    assert [grant.label for grant in Grant] == [
        "none",
        "files",
        "network",
        "exec",
        "files+network",
        "files+exec",
        "network+exec",
    ]
