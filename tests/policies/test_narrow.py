"""The narrowest policy of a recorded session lends no request what another one had."""

from __future__ import annotations

from itertools import permutations

import pytest

from policies.capability import Capability
from policies.decide import decide
from policies.narrow import narrowest
from policies.request import ActionRequest, Allowed, Denied, HttpUse, SessionFacts
from policies.source import parse_policy

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
