"""The narrowest policy of a recorded session lends no request what another one had."""

from __future__ import annotations

from itertools import permutations

from policies.capability import Capability
from policies.narrow import narrowest
from policies.request import ActionRequest, HttpUse
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
