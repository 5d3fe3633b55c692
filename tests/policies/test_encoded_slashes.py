"""`GET /@scope%2fname`: one encoded slash, where all rules treat both of its readings alike."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.capability import Capability
from policies.ceiling import parse_ceiling
from policies.decide import decide
from policies.egress import decide_http
from policies.errors import BadValueError
from policies.request import ActionRequest, Allowed, Denied, HttpUse, Reason, SessionFacts
from policies.source import parse_policy
from policies.urls import canonical_url, readings

if TYPE_CHECKING:
    from policies.policy import Policy

HOST = "https://packages.example.com"
HEAD = "version: 1\nname: p\ngrant: [network]\ncommands: {allow: [http get, http post]}\nnetwork:\n  allow:\n"


def _policy(*rules: str) -> Policy:
    lines = "".join(f"    - {{host: packages.example.com, {rule}}}\n" for rule in rules)
    return parse_policy(HEAD + lines, origin="p")


def _asked(policy: Policy, url: str, method: str = "GET", ceiling: str = "") -> Allowed | Denied:
    session = SessionFacts(
        grant=policy.grant, ceiling=parse_ceiling(f"version: 1\n{ceiling}", origin="ceiling")
    )
    request = ActionRequest(
        command=("http", method.lower()),
        needs=frozenset({Capability.NETWORK}),
        http=(HttpUse(method, url),),
    )
    decision = decide(policy, session, request)
    assert isinstance(decision, Allowed | Denied)
    return decision


@pytest.mark.parametrize("spelt", ["%2f", "%2F"])
@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        (["methods: [GET]"], True),
        (["paths: ['/**']"], True),
        (["paths: ['/@scope*', '/@scope/**']"], True),
        (["paths: ['/@scope*']", "paths: ['/**']"], False),  # another rule holds, read the other way
        (["paths: ['/@scope/**']"], False),
        (["paths: ['/@scope/name']"], False),
        (["paths: ['/*']"], False),
        (["paths: ['/other']"], False),
    ],
)
def test_a_scoped_name_may_be_asked_for_where_both_readings_are_allowed_alike(
    rules: list[str], spelt: str, *, allowed: bool
) -> None:
    decision = _asked(_policy(*rules), f"{HOST}/@scope{spelt}name?x=1")

    assert isinstance(decision, Allowed) is allowed
    if isinstance(decision, Denied):
        assert [reason.code for reason in decision.reasons] == ["path"]


@pytest.mark.parametrize(
    "path",
    [
        "/a%2fb%2fc", "/a%2F..", "/a%2f../b", "/..%2fb", "/a/..%2Fb", "/%2e%2e%2fb", "/a%2f%2e%2e", "/%2fa",
        "/a%2f/b",
        "/a/%2fb", "/a%252fb", "/a%2f.", "/.%2fa", "/a%5c%2fb", "/a;%2fb", "/a%2f%00", "/%2f", "/a%2%2fF",
    ],
)  # fmt: skip
def test_what_is_ambiguous_beside_the_slash_stays_refused(path: str) -> None:
    decision = _asked(_policy("methods: [GET, HEAD]"), HOST + path)

    assert isinstance(decision, Denied)
    assert {reason.code for reason in decision.reasons} == {"host"}


def test_only_reading_requests_may_have_an_encoded_slash() -> None:
    policy = _policy("methods: [GET, POST]")

    refused = _asked(policy, f"{HOST}/@scope%2fname", "POST")

    assert isinstance(refused, Denied)
    assert isinstance(_asked(policy, f"{HOST}/@scope%2fname"), Allowed)
    assert isinstance(_asked(policy, f"{HOST}/@scope/name", "POST"), Allowed)
    target = canonical_url(f"{HOST}/@scope%2fname", method="GET")
    assert isinstance(decide_http(policy, "POST", target), Reason)


@pytest.mark.parametrize("bound", ["hosts: [example.com]", "deny: [packages.example.com]", "methods: [HEAD]"])
def test_the_ceiling_sees_a_request_with_an_encoded_slash(bound: str) -> None:
    url = f"{HOST}/@scope%2fname"

    decision = _asked(_policy("methods: [GET]"), url, ceiling=f"network: {{{bound}}}\n")

    assert isinstance(decision, Denied)
    assert [reason.code for reason in decision.reasons] == ["ceiling"]
    assert isinstance(_asked(_policy("methods: [GET]"), url), Allowed)


def test_the_slash_stays_encoded_and_the_rest_is_plain() -> None:
    target = canonical_url(f"{HOST}/%7Ea%2fb%41/c", method="HEAD")

    assert target.path == "/~a%2FbA/c"
    assert readings(target.path) == ("/~a%2FbA/c", "/~a/bA/c")
    assert readings("/a/b") == ("/a/b",)
    with pytest.raises(BadValueError):
        canonical_url(f"{HOST}/a%2fb")


PATTERNS = ("/a*", "/a/**", "/*", "/**", "/a/b", "/a*b", "/a/*")
PARTS = st.text(alphabet="ab/@.", max_size=3)


@settings(max_examples=300)
@given(
    st.lists(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2), min_size=1, max_size=3),
    PARTS,
    PARTS,
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_an_encoded_slash_never_reaches_what_a_plain_one_would_not(
    groups: list[list[str]], before: str, after: str, method: str
) -> None:
    """What is allowed is allowed as a slash and as a letter of a name, each time by the very same rule."""
    policy = _policy(*(f"methods: [GET, POST], paths: {group}" for group in groups))
    try:
        target = canonical_url(f"{HOST}/{before}%2f{after}", method=method)
    except BadValueError:
        return
    found = decide_http(policy, method, target)
    if isinstance(found, Reason):
        return

    assert method == "GET"
    plain = canonical_url(f"{HOST}/{before}/{after}", method=method)
    assert decide_http(policy, method, plain) is found
    rules = policy.network.allow if policy.network else ()
    assert all(rule.allows_path(plain.path) == rule.allows_path(target.path) for rule in rules)
    assert "%2F" in target.path


def test_both_readings_of_every_pair_of_patterns() -> None:
    for one, other in product(PATTERNS, PATTERNS):
        policy = _policy(f"paths: ['{one}', '{other}']")
        rule = policy.network.allow[0] if policy.network else None
        assert rule is not None

        decision = _asked(policy, f"{HOST}/a%2fb")

        assert isinstance(decision, Allowed) is (rule.allows_path("/a/b") and rule.allows_path("/a%2Fb"))
