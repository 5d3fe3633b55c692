"""The rules of egress: every denial with its code, beside the request that is allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.egress import decide_http
from policies.hosts import HostPattern
from policies.network_block import NetworkBlock
from policies.policy import Policy
from policies.request import Reason
from policies.urls import Target, UrlPath
from sandbox.egress.rules import Allowed, Denied, Limits, Rule, RuleSet, Wanted, decide

API = Rule(host=HostPattern.parse("api.example.com"))
DOCS = Rule(
    host=HostPattern.parse("*.example.org"),
    ports=(443, 8443),
    methods=("GET", "POST"),
    paths=((UrlPath.parse("/docs/**"),),),
)
KEYED = Rule(host=HostPattern.parse("keyed.example.com"), ports=(80, 443), credential="github")
ALL = RuleSet(rules=(API, DOCS, KEYED), deny=(HostPattern.parse("evil.example.org"),))


def ask(host: str, *, method: str = "GET", path: str = "/", port: int = 443, scheme: str = "https") -> str:
    """Return `allowed`, or the code of the denial."""
    decision = decide(ALL, Wanted(scheme=scheme, host=host, port=port, method=method, path=path))  # type: ignore[arg-type]
    return decision.code if isinstance(decision, Denied) else "allowed"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"host": "api.example.com"}, "allowed"),
        ({"host": "api.example.com", "method": "HEAD"}, "allowed"),
        ({"host": "api.example.com", "method": "POST"}, "method"),
        ({"host": "api.example.com", "port": 80}, "host"),
        ({"host": "api.example.com.evil.com"}, "host"),
        ({"host": "xapi.example.com"}, "host"),
        ({"host": "example.com"}, "host"),
        ({"host": "a.example.org", "path": "/docs/x"}, "allowed"),
        ({"host": "a.example.org", "path": "/docs/x", "port": 8443, "method": "POST"}, "allowed"),
        ({"host": "a.example.org", "path": "/docsx"}, "path"),
        ({"host": "a.example.org", "path": "/docs/x", "method": "PUT"}, "method"),
        ({"host": "example.org", "path": "/docs/x"}, "host"),
        ({"host": "aexample.org", "path": "/docs/x"}, "host"),
        ({"host": "evil.example.org", "path": "/docs/x"}, "host"),
        ({"host": "keyed.example.com"}, "allowed"),
        ({"host": "keyed.example.com", "scheme": "http", "port": 80}, "credential"),
    ],
)
def test_each_request_is_decided_by_the_part_of_the_rule_that_it_breaks(
    request_: dict[str, str], expected: str
) -> None:
    assert ask(**request_) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("rules", [RuleSet(), RuleSet.of(None), RuleSet.of(NetworkBlock())])
def test_no_rules_are_no_host(rules: RuleSet) -> None:
    for scheme in ("http", "https", "tunnel"):
        decision = decide(rules, Wanted(scheme=scheme, host="example.com", port=443, method="GET", path="/"))  # type: ignore[arg-type]
        assert isinstance(decision, Denied)
        assert decision.code == "host"


def test_a_tunnel_is_read_when_a_rule_for_it_reads_requests() -> None:
    plain = decide(ALL, Wanted(scheme="tunnel", host="api.example.com", port=443))
    read = decide(ALL, Wanted(scheme="tunnel", host="a.example.org", port=443))
    keyed = decide(ALL, Wanted(scheme="tunnel", host="keyed.example.com", port=443))

    assert plain == Allowed(rule=API, by_request=False)
    assert read == Allowed(rule=DOCS, by_request=True)
    assert keyed == Allowed(rule=KEYED, by_request=True)


def test_a_tunnel_to_a_port_that_no_rule_names_is_denied() -> None:
    for port in (22, 25, 80, 8443):
        decision = decide(ALL, Wanted(scheme="tunnel", host="api.example.com", port=port))
        assert isinstance(decision, Denied)
        assert decision.code == "host"


hosts = st.sampled_from(["api.example.com", "a.example.org", "evil.example.org", "example.org", "other.net"])
paths = st.sampled_from(["/", "/docs/a", "/docs", "/x"])


@given(hosts, st.sampled_from([80, 443, 8443]), st.sampled_from(["GET", "POST", "PUT"]), paths)
def test_the_gate_and_the_policy_decide_alike(host: str, port: int, method: str, path: str) -> None:
    """Whatever `policies.decide_http` says of a policy, the gate says of the rules taken from it."""
    block = NetworkBlock.model_construct(allow=tuple(r.as_written() for r in ALL.rules), deny=ALL.deny)
    policy = Policy.model_construct(version=1, name="x", network=block)

    theirs = decide_http(policy, method, Target("https", host, port, path))
    ours = decide(RuleSet.of(block), Wanted(scheme="https", host=host, port=port, method=method, path=path))

    if isinstance(theirs, Reason):
        assert isinstance(ours, Denied)
        assert (ours.code, ours.message) == (theirs.code, theirs.message)
    else:
        assert ours == Allowed(rule=Rule.of(theirs, Limits()))


def test_limits_default_to_little_sent() -> None:
    assert Limits().sent_bytes == 1024 * 1024


@pytest.mark.parametrize("scheme", ["https", "tunnel"])
@pytest.mark.parametrize("protocol", ["web", "tcp"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_rule_that_bounds_more_holds_wherever_it_is_written(
    scheme: str, protocol: str, *, turned: bool
) -> None:
    host = HostPattern.parse("api.example.com")
    wide = Rule(host=host, protocol=protocol)  # type: ignore[arg-type]
    bounded = replace(wide, limits=Limits(sent_bytes=10))
    wanted = Wanted(scheme=scheme, host="api.example.com", port=443, method="GET", path="/")  # type: ignore[arg-type]

    decision = decide(RuleSet(rules=(bounded, wide) if turned else (wide, bounded)), wanted)

    assert decision == Allowed(rule=bounded)


@pytest.mark.parametrize("turned", [False, True])
def test_a_rule_for_any_bytes_holds_before_one_for_the_web(*, turned: bool) -> None:
    web = Rule(host=HostPattern.parse("api.example.com"), limits=Limits(requests=1))
    raw = Rule(host=HostPattern.parse("api.example.com"), protocol="tcp")

    decision = decide(
        RuleSet(rules=(raw, web) if turned else (web, raw)),
        Wanted(scheme="tunnel", host="api.example.com", port=443),
    )

    assert decision == Allowed(rule=raw)
