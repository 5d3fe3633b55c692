from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from policy_vocabulary import COMMANDS

from policies.check import check, check_neighbours
from policies.expectations import load_policy, run_expectations, verify_expectations
from policies.explain import explain
from policies.grant import Grant
from policies.library import library_names, library_policy

if TYPE_CHECKING:
    from policies.policy import Policy

GRANTS = {
    "data-analysis": Grant.FILES_EXEC,
    "dependency-research": Grant.NETWORK,
    "fix-tests": Grant.FILES_EXEC,
    "inbox-triage": Grant.FILES_NETWORK,
    "read-only-review": Grant.FILES,
    "release-notes": Grant.FILES_NETWORK,
    "web-research-code": Grant.NETWORK_EXEC,
}


def _load(name: str) -> Policy:
    source = library_policy(name)
    assert source is not None
    return load_policy(source.text, origin=source.origin, commands=COMMANDS)


def test_the_library_is_the_policies_of_the_docs() -> None:
    assert {name: _load(name).grant for name in library_names()} == GRANTS


def test_a_name_that_is_not_in_the_library_is_nothing() -> None:
    for name in ("", "fix", "fix-tests.yaml", "../policy", "fix-tests/../fix-tests", "FIX-TESTS"):
        assert library_policy(name) is None


@pytest.mark.parametrize("name", library_names())
def test_each_policy_has_a_sentence_and_expectations_of_both_kinds(name: str) -> None:
    policy = _load(name)

    assert policy.name == name
    assert policy.description is not None
    assert {verdict for item in policy.expect for verdict in ("allow", "deny") if getattr(item, verdict)} == {
        "allow",
        "deny",
    }
    assert any(item.because == "capability" for item in policy.expect)
    assert run_expectations(policy, COMMANDS).failures == ()


@pytest.mark.parametrize("name", library_names())
def test_each_policy_passes_a_strict_check_and_can_be_explained(name: str) -> None:
    policy = _load(name)

    assert check(policy, COMMANDS).findings == ()
    assert explain(policy, COMMANDS).text().count("\n") > 12


def test_no_two_policies_of_the_library_can_hand_data_over_behind_lineage() -> None:
    assert check_neighbours([_load(name) for name in library_names()]).findings == ()


@pytest.mark.parametrize("name", library_names())
def test_expectations_fail_when_the_grant_is_taken_away(name: str) -> None:
    source = library_policy(name)
    assert source is not None
    policy = _load(name)
    bare = policy.replaced(grant=Grant.NONE, files=None, network=None, exec=None)

    with pytest.raises(Exception, match="is not met") as refused:
        verify_expectations(bare, COMMANDS)

    assert type(refused.value).__name__ == "ExpectationError"


@pytest.mark.parametrize("name", library_names())
def test_the_expectations_of_each_policy_touch_every_rule(name: str) -> None:
    run = run_expectations(_load(name), COMMANDS)

    assert [f"{rule.at} {rule.what}" for rule in run.untouched] == []
