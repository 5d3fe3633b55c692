"""The narrowest policy of a recorded session lends no request what another one had."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from policies.capability import Capability
from policies.decide import decide
from policies.errors import PolicyFileError
from policies.faults import MOST_ENTRIES
from policies.narrow import narrowest
from policies.request import ActionRequest, Allowed, Denied, HttpUse, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

UNDER = """\
version: 1
name: u
grant: [network]
network:
  allow:
    - {host: a.com, methods: [GET], paths: ["/private/**"], credential: c, data: public}
    - {host: a.com, methods: [GET], paths: ["/asked/**"], ask: true, limits: {sent_bytes: 9B}}
    - {host: a.com, methods: [GET], paths: ["/open/**"]}
commands: {allow: [http get]}
"""
NPM = """\
version: 1
name: u
grant: [network]
network: {allow: [{host: a.com, methods: [GET], paths: ["/@types*", "/@types/**", "/left-pad"]}]}
commands: {allow: [http get]}
"""


def _get(path: str) -> ActionRequest:
    url = f"https://a.com{path}"
    return ActionRequest(
        command=("http", "get"), needs=frozenset({Capability.NETWORK}), http=(HttpUse("GET", url),)
    )


def test_a_credential_stays_with_the_paths_that_it_was_used_for_whatever_the_order() -> None:
    under = parse_policy(UNDER, origin="u.yaml")

    for paths in permutations(["/private/1", "/open/1", "/asked/1", "/open/2"]):
        policy = narrowest([_get(path) for path in paths], under=under, name="n")

        assert policy.network is not None
        found = {
            path.text: (rule.credential, rule.data, rule.ask, rule.limits.sent_bytes)
            for rule in policy.network.allow
            for path in rule.paths or ()
        }
        assert found == {
            "/private/1": ("c", "public", False, None),
            "/open/1": (None, None, False, None),
            "/open/2": (None, None, False, None),
            "/asked/1": (None, None, True, 9),
        }


@pytest.mark.parametrize("under", [None, NPM])
def test_a_package_with_a_scope_may_be_asked_for_again_as_npm_asks(under: str | None) -> None:
    """`%2f` stands in no pattern: the draft names the path both ways in which a server may read it."""
    ran_under = None if under is None else parse_policy(under, origin="u.yaml")
    recorded = [_get(path) for path in ("/@types%2fnode", "/left-pad", "/@types%2Freact")]

    drafted = narrowest(recorded, under=ran_under, name="n").as_yaml()

    policy = parse_policy(drafted, origin="n.yaml")
    facts = SessionFacts(grant=policy.grant)
    assert all(isinstance(decide(policy, facts, request), Allowed) for request in recorded)
    for near in ("/@types%2Fvue", "/@other%2fnode", "/@types/vue", "/right-pad"):
        assert isinstance(decide(policy, facts, _get(near)), Denied), near


def _drafted(paths: list[str], under: str | None = None) -> Policy:
    ran_under = None if under is None else parse_policy(under, origin="u.yaml")
    drafted = narrowest([_get(path) for path in paths], under=ran_under, name="n")
    return parse_policy(drafted.as_yaml(), origin="n.yaml")


def _allows(policy: Policy, path: str) -> bool:
    return isinstance(decide(policy, SessionFacts(grant=policy.grant), _get(path)), Allowed)


def test_more_paths_than_a_rule_holds_are_named_by_their_folders() -> None:
    recorded = [*(f"/repos/acme/{number}" for number in range(300)), "/", "/top", f"/q/{'a' * 520}/b"]

    policy = _drafted(recorded)

    assert all(_allows(policy, path) for path in recorded)
    assert _allows(policy, "/repos/acme/new")
    assert not _allows(policy, "/repos/other/1")
    assert not _allows(policy, "/repos/acme/1/secrets")


def test_twin_as_many_paths_as_a_rule_holds_are_named_each_by_itself() -> None:
    recorded = [f"/repos/acme/{number}" for number in range(MOST_ENTRIES)]

    assert not _allows(_drafted(recorded), "/repos/acme/new")


def test_paths_in_more_folders_than_a_rule_holds_stay_within_what_was_allowed() -> None:
    under = NPM.replace("/left-pad", "/open/*/issues")
    recorded = [f"/open/{number}/issues" for number in range(300)]

    policy = _drafted(recorded, under)

    assert all(_allows(policy, path) for path in recorded)
    assert _allows(policy, "/open/new/issues")
    assert not _allows(policy, "/open/new/secrets")


def test_folders_lend_nothing_to_the_paths_of_a_rule_of_another_manner() -> None:
    recorded = [f"/open/{number}" for number in range(300)]

    with pytest.raises(PolicyFileError, match="has 300 entries; expected at most 256"):
        _drafted(recorded, UNDER)
