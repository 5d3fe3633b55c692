"""Paths of the workspace, and requests to hosts."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from deciding import act, codes_of, decided, policy_of

from policies.request import (
    Allowed,
    HttpUse,
    PathUse,
)

if TYPE_CHECKING:
    from policies.policy import Policy


FILES = "files: {hide: ['*.secret'], protect: ['locked/**']}\ncommands: {allow: ['files *']}"


@pytest.mark.parametrize(
    ("path", "read", "write"),
    [
        ("a.py", (), ()),
        ("/workspace/a.py", (), ()),
        ("x.secret", ("hidden",), ("hidden",)),
        ("X.SECRET", ("hidden",), ("hidden",)),
        ("x.secret/y", ("hidden",), ("hidden",)),
        ("./d/../x.secret", ("path",), ("path",)),
        ("locked/x", (), ("protected",)),
        ("locked", (), ("protected",)),
        (".git/hooks/pre-commit", (), ("protected",)),
        ("deep/sub/.git/config", (), ("protected",)),
        (".env", ("hidden",), ("hidden",)),
        (".env.production", ("hidden",), ("hidden",)),
        (".env.example", (), ()),
        ("app/.env.sample", (), ()),
        (".ssh/.env.example", ("hidden",), ("hidden",)),
        (".env/.env.example", ("hidden",), ("hidden",)),
        (".env.example/key.pem", ("hidden",), ("hidden",)),
        (".", (), ("protected",)),
        ("/etc/passwd", ("path",), ("path",)),
        ("../x", ("path",), ("path",)),
        ("", ("path",), ("path",)),
        ("a\0b", ("path",), ("path",)),
    ],
)
def test_paths_are_hidden_protected_or_free(path: str, read: tuple[str, ...], write: tuple[str, ...]) -> None:
    policy = policy_of(FILES, grant="[files]")

    assert codes_of(decided(policy, act("files", "read", paths=(PathUse(path, "read"),)))) == read
    assert codes_of(decided(policy, act("files", "write", paths=(PathUse(path, "write"),)))) == write


def test_read_access_writes_nothing() -> None:
    policy = policy_of("files: {access: read}\ncommands: {allow: ['files *']}", grant="[files]")

    assert codes_of(decided(policy, act("files", "write", paths=(PathUse("a", "write"),)))) == ("path",)
    assert isinstance(decided(policy, act("files", "read", paths=(PathUse("a", "read"),))), Allowed)


def test_defaults_are_undone_only_in_writing_and_one_by_one_if_wanted() -> None:
    one = policy_of("files: {visible: ['.env.test']}\ncommands: {allow: [r]}", grant="[files]")
    none = policy_of("files: {hide_defaults: false}\ncommands: {allow: [r]}", grant="[files]")
    own = policy_of(
        "files: {hide: ['.env.test'], visible: ['.env.test']}\ncommands: {allow: [r]}", grant="[files]"
    )

    def codes(policy: Policy, path: str) -> tuple[str, ...]:
        return codes_of(decided(policy, act("r", paths=(PathUse(path, "read"),))))

    assert codes(one, ".env.test") == ()
    assert codes(one, ".env") == ("hidden",)
    assert codes(none, ".env") == ()
    assert codes(own, ".env.test") == ("hidden",), "what a policy hides itself is never made visible"


def test_every_path_of_an_action_is_looked_at_after_one_that_is_none() -> None:
    policy = policy_of(FILES, grant="[files]")
    paths = (
        PathUse("../x", "read"),
        PathUse("x.secret", "read"),
        PathUse("ok", "read"),
        PathUse(".env", "read"),
    )

    decision = decided(policy, act("files", "read", paths=paths))

    assert codes_of(decision) == ("path", "hidden", "hidden")


NETWORK = """
network:
  allow:
    - {host: a.com}
    - {host: api.b.com, methods: [GET, POST], paths: ["/repos/acme/**"]}
    - {host: "*.c.com", ports: [443, 8443]}
    - {host: 127.0.0.1, ports: [80], private: true}
  deny: [bad.c.com]
commands: {allow: ["http *"]}
"""


@pytest.mark.parametrize(
    ("method", "url", "codes"),
    [
        ("GET", "https://a.com/any?x=1", ()),
        ("HEAD", "https://A.COM./", ()),
        ("POST", "https://a.com/", ("method",)),
        ("GET", "http://a.com/", ("host",)),
        ("GET", "https://a.com:444/", ("host",)),
        ("GET", "https://a.com.evil.com/", ("host",)),
        ("GET", "https://xa.com/", ("host",)),
        ("GET", "https://a.com@evil.com/", ("host",)),
        ("GET", "https://evil.com/?u=https://a.com", ("host",)),
        ("POST", "https://api.b.com/repos/acme/x", ()),
        ("GET", "https://api.b.com/repos/evil", ("path",)),
        ("GET", "https://api.b.com/repos/acme/../evil", ("host",)),
        ("GET", "https://api.b.com/repos/acme/%2e%2e/evil", ("host",)),
        ("DELETE", "https://api.b.com/repos/acme/x", ("method",)),
        ("GET", "https://x.c.com:8443/", ()),
        ("GET", "https://c.com/", ("host",)),
        ("GET", "https://bad.c.com/", ("host",)),
        ("GET", "https://BAD.c.com./", ("host",)),
        ("GET", "http://127.0.0.1/", ()),
        ("GET", "http://127.1/", ("host",)),
        ("GET", "http://2130706433/", ("host",)),
        ("GET", "ftp://a.com/", ("host",)),
        ("get", "https://a.com/", ("method",)),
    ],
)
def test_requests_pass_by_host_port_method_and_path(method: str, url: str, codes: tuple[str, ...]) -> None:
    policy = policy_of(NETWORK, grant="[network]")

    assert codes_of(decided(policy, act("http", "get", http=(HttpUse(method, url),)))) == codes


def test_the_decision_hands_over_the_rule_of_each_request() -> None:
    policy = policy_of(NETWORK, grant="[network]")

    decision = decided(
        policy,
        act("http", "get", http=(HttpUse("GET", "https://a.com/"), HttpUse("GET", "https://z.c.com/"))),
    )

    assert isinstance(decision, Allowed)
    assert [rule.host.text for rule in decision.egress] == ["a.com", "*.c.com"]


def test_two_credentials_for_one_request_are_a_denial_and_one_is_chosen_whatever_the_order() -> None:
    rules = ["{host: a.com, credential: one}", "{host: a.com, credential: two}", "{host: a.com}"]
    for order in permutations(rules):
        both = policy_of(
            f"network: {{allow: [{', '.join(order)}]}}\ncommands: {{allow: [x]}}", grant="[network]"
        )
        one = [rule for rule in order if "two" not in rule]
        single = policy_of(
            f"network: {{allow: [{', '.join(one)}]}}\ncommands: {{allow: [x]}}", grant="[network]"
        )
        request = act("x", http=(HttpUse("GET", "https://a.com/"),))
        task = {"task": "get https://a.com/"}

        assert codes_of(decided(both, request, **task)) == ("host",)
        decision = decided(single, request, **task)
        assert isinstance(decision, Allowed)
        assert decision.egress[0].credential == "one"
