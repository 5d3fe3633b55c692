"""Whether a joined rule for hosts covers another is told without joining them, and told the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arbitrary_policies import RULES
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies.join_network import JoinedRule, meet_rules

if TYPE_CHECKING:
    from policies.network_block import EgressRule

FIELDS = ("host", "ports", "methods", "paths", "credential", "data", "private", "sink_pattern")


@settings(max_examples=300)
@given(RULES, RULES, st.booleans(), st.sets(st.sampled_from(FIELDS), max_size=3))
def test_covering_is_meeting_and_staying_the_same(
    one: EgressRule,
    other: EgressRule,
    both: bool,  # noqa: FBT001 - hypothesis gives arguments by position
    fields: set[str],
) -> None:
    changed = one.model_copy(update={name: getattr(other, name) for name in fields})
    wide, narrow = meet_rules(one, one), meet_rules(changed, one if both else changed)
    assume(wide is not None and narrow is not None)
    assert wide is not None
    assert narrow is not None
    first, second = JoinedRule(wide), JoinedRule(narrow)
    assume(first.manner == second.manner)

    assert first.covers(second) is (meet_rules(narrow, wide) == narrow)
    assert second.covers(first) is (meet_rules(wide, narrow) == wide)
    assert first.covers(first)
