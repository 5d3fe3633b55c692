# ruff: noqa: E501, FBT001 - tables, one case on each line, some with a truth value as a column
from __future__ import annotations

from itertools import chain, combinations, permutations
from typing import TYPE_CHECKING

import pytest

from policies.capability import Capability, in_order
from policies.ceiling import parse_ceiling
from policies.errors import ForbiddenGrantError, RuleAt
from policies.grant import Grant
from policies.request import (
    ActionRequest,
    Allowed,
    Decision,
    Denied,
    HttpUse,
    NeedsApproval,
    PathUse,
    SessionFacts,
    SinkUse,
)
from policies.source import parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

F, N, E = Capability.FILES, Capability.NETWORK, Capability.EXEC
SUBSETS = [
    frozenset(chosen) for chosen in chain.from_iterable(combinations(Capability, size) for size in range(4))
]


def named(chosen: frozenset[Capability]) -> str:
    """Name a set in the one order, so that every worker collects the same tests."""
    return "+".join(in_order(chosen)) or "none"


def _policy(body: str, *, grant: str = "[files, network]") -> Policy:
    return parse_policy(f"version: 1\nname: p\ngrant: {grant}\n{body}", origin="p.yaml")


def _decide(policy: Policy, request: ActionRequest, **facts: object) -> Decision:
    from policies.decide import decide

    session = SessionFacts(**{"grant": policy.grant, "headless": False, **facts})  # type: ignore[arg-type]  # test data
    return decide(policy, session, request)


def _codes(decision: Decision) -> tuple[str, ...]:
    return () if isinstance(decision, Allowed) else tuple(reason.code for reason in decision.reasons)


def _act(*command: str, needs: frozenset[Capability] = frozenset(), **more: object) -> ActionRequest:
    return ActionRequest(command=command, needs=needs, **more)  # type: ignore[arg-type]  # test data


# --- the grant -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grant", Grant)
@pytest.mark.parametrize("needs", SUBSETS, ids=named)
def test_an_action_passes_exactly_when_its_needs_are_held(grant: Grant, needs: frozenset[Capability]) -> None:
    held = "[" + ", ".join(capability.value for capability in grant.capabilities) + "]"
    image = "\nexec: {contents: public}" if grant is Grant.NETWORK_EXEC else ""
    policy = _policy("commands: {allow: [act]}" + image, grant=held)

    decision = _decide(policy, _act("act", needs=needs))

    assert _codes(decision) == (() if needs <= grant.capabilities else ("capability",))


@pytest.mark.parametrize("grant", Grant)
def test_a_session_that_holds_less_than_its_policy_gets_less(grant: Grant) -> None:
    policy = _policy("commands: {allow: [act]}", grant="[files, network]")

    decision = _decide(policy, _act("act", needs=frozenset({F, N})), grant=grant)

    assert _codes(decision) == (() if grant is Grant.FILES_NETWORK else ("capability",))


@pytest.mark.parametrize(
    ("use", "capability"),
    [
        ({"paths": (PathUse("a", "read"),)}, F),
        ({"http": (HttpUse("GET", "https://a.com/"),)}, N),
        ({"program": "sh"}, E),
    ],
)
def test_what_an_action_touches_counts_even_when_it_declares_no_need(
    use: dict[str, object], capability: Capability
) -> None:
    policy = _policy("commands: {allow: [act]}", grant="[]")

    decision = _decide(policy, _act("act", **use))

    assert _codes(decision)[0] == "capability"
    assert isinstance(decision, Denied)
    assert f"needs `{capability.value}`" in decision.reasons[0].message
    assert decision.reasons[0].rule == RuleAt("p.yaml", 3, 1)


# --- commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(["allow", "ask", "deny"])))
@pytest.mark.parametrize(
    "present", [chosen for size in range(4) for chosen in combinations(["allow", "ask", "deny"], size)]
)
def test_deny_wins_over_ask_over_allow_whatever_the_order(
    order: tuple[str, ...], present: tuple[str, ...]
) -> None:
    lines = [f"  {word}: [act]" for word in order if word in present]
    policy = _policy("commands:\n" + "\n".join(lines) if lines else "", grant="[]")

    decision = _decide(policy, _act("act"))

    expected = Denied if "deny" in present or not present else NeedsApproval if "ask" in present else Allowed
    assert type(decision) is expected
    assert set(_codes(decision)) <= {"command"}


@pytest.mark.parametrize(
    "body", ["", "commands: {}", "commands: {allow: []}", "commands: {ask: [], deny: []}"]
)
def test_absent_or_empty_commands_allow_only_finish(body: str) -> None:
    policy = _policy(body, grant="[]")

    assert _codes(_decide(policy, _act("act"))) == ("command",)
    assert _decide(policy, _act("finish")) == Allowed()


def test_a_group_means_its_commands_and_not_longer_words() -> None:
    policy = _policy('commands: {allow: ["files *"]}', grant="[]")

    assert isinstance(_decide(policy, _act("files", "read")), Allowed)
    assert _codes(_decide(policy, _act("files"))) == ("command",)
    assert _codes(_decide(policy, _act("filesystem", "read"))) == ("command",)


def test_the_reason_names_the_rule_by_file_and_line_and_the_nearest_command() -> None:
    policy = _policy("commands:\n  allow: [files read]\n  deny: [files write]", grant="[files]")

    denied = _decide(policy, _act("files", "write"))
    unknown = _decide(policy, _act("files", "raed"))

    assert isinstance(denied, Denied)
    assert denied.reasons[0].rule == RuleAt("p.yaml", 6, 10)
    assert isinstance(unknown, Denied)
    assert unknown.reasons[0].hint == "did you mean `files read`?"


def test_headless_ask_is_a_denial() -> None:
    policy = _policy("commands: {ask: [act]}", grant="[]")

    assert isinstance(_decide(policy, _act("act"), headless=False), NeedsApproval)
    assert _codes(_decide(policy, _act("act"), headless=True)) == ("command",)
    assert isinstance(_decide(policy, _act("act"), headless=True), Denied)


def test_a_denial_is_never_softened_by_an_ask() -> None:
    policy = _policy("commands: {ask: [act], rules: [{command: act, arguments: {x: [a]}}]}", grant="[]")

    decision = _decide(policy, _act("act", arguments={"x": "b"}))

    assert isinstance(decision, Denied)
    assert _codes(decision) == ("argument",)


# --- arguments -----------------------------------------------------------------------------------------------

RULES = "commands: {allow: [act], rules: [{command: act, arguments: {to: [one, 'two*']}}]}"


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        ("one", ()),
        ("two-and-more", ()),
        ("ONE", ("argument",)),
        ("one ", ("argument",)),
        ("onex", ("argument",)),
        ("xone", ("argument",)),
        ("one\nevil", ("argument",)),
        ("", ("argument",)),
        (None, ("argument",)),
        ((), ("argument",)),
        (("one", "one"), ()),
        (("one", "evil"), ("argument",)),
        (("one", ("one", ("evil",))), ("argument",)),
        ("one,evil", ("argument",)),
    ],
)
def test_values_match_whole_and_every_one_has_to(value: object, codes: tuple[str, ...]) -> None:
    policy = _policy(RULES, grant="[]")

    assert _codes(_decide(policy, _act("act", arguments={"to": value}))) == codes


def test_every_rule_that_names_a_command_has_to_hold() -> None:
    policy = _policy(
        "commands: {allow: [g a], rules: [{command: 'g *', arguments: {x: ['1', '2']}}, {command: g a, arguments: {x: ['2', '3']}}]}",
        grant="[]",
    )

    allowed = [
        value
        for value in "1234"
        if isinstance(_decide(policy, _act("g", "a", arguments={"x": value})), Allowed)
    ]

    assert allowed == ["2"]


def test_calls_are_counted_over_the_whole_group() -> None:
    policy = _policy("commands: {allow: ['g *'], rules: [{command: 'g *', max_calls: 3}]}", grant="[]")

    assert isinstance(_decide(policy, _act("g", "a"), calls={"g a": 1, "g b": 1}), Allowed)
    assert _codes(_decide(policy, _act("g", "a"), calls={"g a": 1, "g b": 2, "other": 9})) == ("budget",)


def test_no_calls_at_all_may_be_written() -> None:
    policy = _policy("commands: {allow: [a], rules: [{command: a, max_calls: 0}]}", grant="[]")

    assert _codes(_decide(policy, _act("a"))) == ("budget",)


# --- programs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "program", "codes"),
    [
        ("{programs: [pytest]}", "pytest", ()),
        ("{programs: [pytest]}", "pytest-evil", ("argument",)),
        ("{programs: [pytest]}", "/tmp/pytest", ("argument",)),
        ("{programs: []}", "pytest", ("argument",)),
        ("{}", "pytest", ("argument",)),
        ("{programs: any}", "whatever", ()),
        ("{programs: ['any']}", "whatever", ("argument",)),
    ],
)
def test_programs_are_named_whole_and_any_is_written_out(
    block: str, program: str, codes: tuple[str, ...]
) -> None:
    policy = _policy(f"exec: {block}\ncommands: {{allow: [run]}}", grant="[exec]")

    assert _codes(_decide(policy, _act("run", program=program, needs=frozenset({E})))) == codes


# --- paths ---------------------------------------------------------------------------------------------------

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
    policy = _policy(FILES, grant="[files]")

    assert _codes(_decide(policy, _act("files", "read", paths=(PathUse(path, "read"),)))) == read
    assert _codes(_decide(policy, _act("files", "write", paths=(PathUse(path, "write"),)))) == write


def test_read_access_writes_nothing() -> None:
    policy = _policy("files: {access: read}\ncommands: {allow: ['files *']}", grant="[files]")

    assert _codes(_decide(policy, _act("files", "write", paths=(PathUse("a", "write"),)))) == ("path",)
    assert isinstance(_decide(policy, _act("files", "read", paths=(PathUse("a", "read"),))), Allowed)


def test_defaults_are_undone_only_in_writing_and_one_by_one_if_wanted() -> None:
    one = _policy("files: {visible: ['.env.test']}\ncommands: {allow: [r]}", grant="[files]")
    none = _policy("files: {hide_defaults: false}\ncommands: {allow: [r]}", grant="[files]")
    own = _policy(
        "files: {hide: ['.env.test'], visible: ['.env.test']}\ncommands: {allow: [r]}", grant="[files]"
    )

    def codes(policy: Policy, path: str) -> tuple[str, ...]:
        return _codes(_decide(policy, _act("r", paths=(PathUse(path, "read"),))))

    assert codes(one, ".env.test") == ()
    assert codes(one, ".env") == ("hidden",)
    assert codes(none, ".env") == ()
    assert codes(own, ".env.test") == ("hidden",), "what a policy hides itself is never made visible"


# --- requests ------------------------------------------------------------------------------------------------

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
    policy = _policy(NETWORK, grant="[network]")

    assert _codes(_decide(policy, _act("http", "get", http=(HttpUse(method, url),)))) == codes


def test_the_decision_hands_over_the_rule_of_each_request() -> None:
    policy = _policy(NETWORK, grant="[network]")

    decision = _decide(
        policy,
        _act("http", "get", http=(HttpUse("GET", "https://a.com/"), HttpUse("GET", "https://z.c.com/"))),
    )

    assert isinstance(decision, Allowed)
    assert [rule.host.text for rule in decision.egress] == ["a.com", "*.c.com"]


def test_two_credentials_for_one_request_are_a_denial_and_one_is_chosen_whatever_the_order() -> None:
    rules = ["{host: a.com, credential: one}", "{host: a.com, credential: two}", "{host: a.com}"]
    for order in permutations(rules):
        both = _policy(
            f"network: {{allow: [{', '.join(order)}]}}\ncommands: {{allow: [x]}}", grant="[network]"
        )
        one = [rule for rule in order if "two" not in rule]
        single = _policy(
            f"network: {{allow: [{', '.join(one)}]}}\ncommands: {{allow: [x]}}", grant="[network]"
        )
        request = _act("x", http=(HttpUse("GET", "https://a.com/"),))
        task = {"task": "get https://a.com/"}

        assert _codes(_decide(both, request, **task)) == ("host",)
        decision = _decide(single, request, **task)
        assert isinstance(decision, Allowed)
        assert decision.egress[0].credential == "one"


# --- sinks and origin ----------------------------------------------------------------------------------------

SENDING = "commands: {allow: [send], rules: [{command: send, arguments: {cc: [Boss@Example.com]}}]}"


def _send(value: object, kind: str = "address", **more: object) -> ActionRequest:
    return _act("send", needs=frozenset({F, N}), sinks=(SinkUse("to", kind, value),), **more)  # type: ignore[arg-type]  # test data


def _sending(value: object, task: str | None, kind: str = "address", *, rules: str = "") -> tuple[str, ...]:
    policy = _policy("commands: {allow: [send]" + rules + "}")
    return _codes(_decide(policy, _send(value, kind), task=task, headless=True))


@pytest.mark.parametrize(
    ("value", "kind", "task", "codes"),
    [
        ("alice@example.com", "address", "mail alice@example.com the summary", ()),
        ("Alice@Example.COM", "address", "mail <alice@example.com>, please.", ()),
        ("alice@example.com", "address", None, ("origin",)),
        ("alice@example.com", "address", "", ("origin",)),
        ("alice@example.com", "address", "mail Alice", ("origin",)),
        ("alice@example.com", "address", "mail malice@example.com", ("origin",)),
        ("alice@example.com", "address", "mail alice@example.com.evil.com", ("origin",)),
        ("alice@example.com", "address", "mail alice@example.comx", ("origin",)),
        ("alice@example.com", "address", "see https://x.com/?to=alice@example.com", ("origin",)),
        ("eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com,eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com, eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com;eve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com <eve@evil.com>", "address", "mail alice@example.com", ("origin",)),
        ('"alice@example.com" <eve@evil.com>', "address", "mail alice@example.com", ("origin",)),
        ("alice@example.com\neve@evil.com", "address", "mail alice@example.com", ("origin",)),
        ("\u0430lice@example.com", "address", "mail alice@example.com", ("origin",)),
        ("alice@ex\u0430mple.com", "address", "mail alice@example.com", ("origin",)),
        ("alice\u200b@example.com", "address", "mail alice@example.com", ("origin",)),
        ("alice+x@example.com", "address", "mail alice@example.com", ("origin",)),
        (("alice@example.com",), "address", "mail alice@example.com", ()),
        (("alice@example.com", "eve@evil.com"), "address", "mail alice@example.com", ("origin",)),
        (("alice@example.com", (("eve@evil.com",),)), "address", "mail alice@example.com", ("origin",)),
        ((), "address", "mail alice@example.com", ("origin",)),
        (None, "address", "mail alice@example.com", ("origin",)),
        ("#ci", "channel", "post to #ci", ()),
        ("ci", "channel", "post to #CI.", ()),
        ("#general", "channel", "some general notes", ("origin",)),
        ("general", "channel", "some general notes", ("origin",)),
        ("#ci", "channel", "post to #ci-public", ("origin",)),
        ("#ci-public", "channel", "post to #ci", ("origin",)),
        ("C0123ABCD9", "channel", "post to C0123ABCD9", ()),
        ("c0123abcd9", "channel", "post to C0123ABCD9", ("origin",)),
        ("#\u0441i", "channel", "post to #ci", ("origin",)),
        ("acme-prod", "account", "deploy to acme-prod now", ()),
        ("acme", "account", "deploy to acme-prod now", ("origin",)),
        ("prod", "account", "deploy to acme-prod now", ("origin",)),
        ("a", "text", "mail a summary", ("origin",)),
        ("acme", "account", "deploy to acme.evil.com", ("origin",)),
        ("acme", "account", "deploy to evil.acme", ("origin",)),
        ("acme", "account", "deploy to acme:evil", ("origin",)),
        ("acme", "account", "deploy to x=acme", ("origin",)),
        ("acme", "account", "deploy to acme.", ()),
        ("acme", "account", "deploy to (acme)!", ()),
        ("acme", "account", "acme", ()),
        ("Acme Corp", "account", "the books of Acme Corp, please", ()),
        ("Acme Corp", "account", "the books of Acme Corporation", ("origin",)),
        ("acme", "account", "deploy to ACME", ("origin",)),
        ("https://hooks.example.com/a", "url", "call https://hooks.example.com/a.", ()),
        ("https://hooks.example.com/b", "url", "call https://hooks.example.com/a", ("origin",)),
        ("https://hooks.example.com/a/../b", "url", "call https://hooks.example.com/a", ("origin",)),
        ("example.com", "host", "look at example.com", ()),
        ("evil.example.com", "host", "look at example.com", ("origin",)),
    ],
)
def test_a_destination_stands_whole_in_the_users_own_words(
    value: object, kind: str, task: str | None, codes: tuple[str, ...]
) -> None:
    assert tuple(dict.fromkeys(_sending(value, task, kind))) == codes


def test_a_rule_without_a_wildcard_fixes_a_destination() -> None:
    rules = ", rules: [{command: send, arguments: {to: ['Alice@Example.com']}}]"

    assert _sending("alice@example.com", None, rules=rules) == ()
    assert _sending("eve@evil.com", None, rules=rules) == ("argument", "origin")
    assert _sending("eve@evil.com", "mail eve@evil.com", rules=rules) == ("argument",)


def test_a_wildcard_constrains_but_does_not_fix_and_a_sink_pattern_does() -> None:
    wild = ", rules: [{command: send, arguments: {to: ['*@example.com']}}]"
    pattern = ", rules: [{command: send, sink_pattern: {to: ['*@example.com']}}]"

    assert _sending("alice@example.com", None, rules=wild) == ("origin",)
    assert _sending("alice@example.com", None, rules=pattern) == ()
    assert _sending("alice@evil.com", None, rules=pattern) == ("argument", "origin")
    assert _sending("eve@evil.com,x@example.com", None, rules=pattern) == ("argument", "origin")


def test_a_missing_origin_is_a_question_on_a_terminal_and_a_denial_without_one() -> None:
    policy = _policy("commands: {allow: [send]}")

    asked = _decide(policy, _send("a@b.com"), headless=False)
    denied = _decide(policy, _send("a@b.com"), headless=True)

    assert isinstance(asked, NeedsApproval)
    assert isinstance(denied, Denied)
    assert _codes(asked) == _codes(denied) == ("origin",)


@pytest.mark.parametrize(
    ("grant", "sinks", "checked"),
    [
        ("[files, network]", "default", True),
        ("[network]", "default", False),
        ("[network]", "strict", True),
        ("[files]", "strict", True),
    ],
)
def test_sinks_are_checked_with_files_and_network_or_when_strict(
    grant: str, sinks: str, checked: bool
) -> None:
    policy = _policy(f"commands: {{allow: [send]}}\nsinks: {sinks}", grant=grant)
    request = _act("send", sinks=(SinkUse("to", "address", "a@b.com"),))

    assert _codes(_decide(policy, request, headless=True)) == (("origin",) if checked else ())


def test_reading_with_a_credential_counts_as_files_for_sinks() -> None:
    body = "network: {allow: [{host: a.com, credential: c}]}\ncommands: {allow: [send]}"
    public = body.replace("credential: c", "credential: c, data: public")
    request = _act("send", sinks=(SinkUse("to", "address", "a@b.com"),))

    assert _codes(_decide(_policy(body, grant="[network]"), request, headless=True)) == ("origin",)
    assert _codes(_decide(_policy(public, grant="[network]"), request, headless=True)) == ()


HTTP_SINKS = """
network:
  allow:
    - {host: a.com, methods: [GET, POST], paths: ["/in", "/any/**"]}
    - {host: "*.w.com"}
    - {host: "*.p.com", sink_pattern: true}
commands: {allow: [x]}
"""


@pytest.mark.parametrize(
    ("method", "url", "task", "codes"),
    [
        ("GET", "https://a.com/any/1", None, ()),
        ("POST", "https://a.com/in", None, ()),
        ("POST", "https://a.com/any/1", None, ("origin",)),
        ("POST", "https://a.com/any/1", "post to https://a.com/any/1", ()),
        ("POST", "https://a.com/any/1", "post to https://a.com/any/2", ("origin",)),
        ("POST", "https://a.com/any/1", "post to a.com/any/1", ("origin",)),
        ("GET", "https://x.w.com/", None, ("origin",)),
        ("GET", "https://x.w.com/p", "read https://x.w.com/q", ()),
        ("GET", "https://x.w.com/p", "read https://x.w.com:8443/q", ("origin",)),
        ("GET", "https://x.w.com/p", "read http://x.w.com/q", ("origin",)),
        ("GET", "https://x.w.com/p", "read https://x.w.com.evil.com/", ("origin",)),
        ("GET", "https://x.p.com/", None, ()),
    ],
)
def test_for_http_the_sink_is_the_host_and_for_writing_the_path_too(
    method: str, url: str, task: str | None, codes: tuple[str, ...]
) -> None:
    policy = _policy(HTTP_SINKS)

    assert _codes(_decide(policy, _act("x", http=(HttpUse(method, url),)), task=task, headless=True)) == codes


# --- several things at once -----------------------------------------------------------------------------------


def test_what_allows_an_action_is_told() -> None:
    policy = _policy("commands: {allow: ['g *', act]}", grant="[]")

    decision = _decide(policy, _act("act"))

    assert isinstance(decision, Allowed)
    assert decision.rule == RuleAt("p.yaml", 4, 27)


def test_a_rule_for_another_command_does_not_end_the_count() -> None:
    rules = "[{command: other, max_calls: 9}, {command: act, arguments: {}, max_calls: 1}]"
    policy = _policy(f"commands: {{allow: [act], rules: {rules}}}", grant="[]")

    assert _codes(_decide(policy, _act("act"), calls={"act": 1})) == ("budget",)


@pytest.mark.parametrize("name", ["g  a", " g a", "g a ", "g\ta", "ga", "g"])
def test_a_call_is_counted_by_its_exact_name(name: str) -> None:
    policy = _policy("commands: {allow: [g a], rules: [{command: g a, max_calls: 1}]}", grant="[]")

    assert isinstance(_decide(policy, _act("g", "a"), calls={name: 1}), Allowed)


def test_every_path_of_an_action_is_looked_at_after_one_that_is_none() -> None:
    policy = _policy(FILES, grant="[files]")
    paths = (
        PathUse("../x", "read"),
        PathUse("x.secret", "read"),
        PathUse("ok", "read"),
        PathUse(".env", "read"),
    )

    decision = _decide(policy, _act("files", "read", paths=paths))

    assert _codes(decision) == ("path", "hidden", "hidden")


def test_every_request_of_an_action_is_looked_at_after_one_that_is_refused_or_fixed() -> None:
    policy = _policy(HTTP_SINKS)
    urls = ("ftp://a.com/", "https://no.com/", "https://a.com/any/1", "https://x.p.com/", "https://x.w.com/")

    decision = _decide(policy, _act("x", http=tuple(HttpUse("GET", url) for url in urls)), headless=True)

    assert _codes(decision) == ("host", "host", "origin")


def test_a_destination_is_told_with_its_path_where_that_counts() -> None:
    policy = _policy(HTTP_SINKS)
    uses = (HttpUse("POST", "https://a.com/any/1"), HttpUse("GET", "https://x.w.com/secret"))

    decision = _decide(policy, _act("x", http=uses))

    assert isinstance(decision, NeedsApproval)
    assert [reason.message.partition(",")[0] for reason in decision.reasons] == [
        "the URL sends to `https://a.com:443/any/1`",
        "the URL sends to `https://x.w.com:443`",
    ]
    assert [rule.host.text for rule in decision.egress] == ["a.com", "*.w.com"]


def test_a_destination_is_fixed_by_a_later_rule_too() -> None:
    rules = ", rules: [{command: other, max_calls: 1}, {command: send, max_calls: 9}, {command: send, arguments: {to: [a@b.com]}}]"

    assert _sending("a@b.com", None, rules=rules) == ()


def test_a_second_sink_of_an_action_is_looked_at_after_the_first() -> None:
    policy = _policy("commands: {allow: [send]}")
    sinks = (
        SinkUse("to", "address", ()),
        SinkUse("cc", "address", ("nobody", "eve@evil.com")),
        SinkUse("room", "channel", "#evil"),
    )

    decision = _decide(policy, _act("send", sinks=sinks), task="write to me", headless=True)

    assert _codes(decision) == ("origin",) * 4
    assert not isinstance(decision, Allowed)
    assert [reason.message.split("`")[1] for reason in decision.reasons] == ["to", "cc", "cc", "room"]


# --- ceilings and errors -------------------------------------------------------------------------------------


def test_a_ceiling_denies_with_its_own_code_whatever_the_policy_says() -> None:
    policy = _policy("network: {allow: [{host: a.com}]}\ncommands: {allow: [x, y, 'files *']}")
    text = "version: 1\nnetwork: {hosts: [b.com], methods: [HEAD]}\ncommands: {deny: [y]}\nfiles: {hide: ['*.db'], protect: [ro], access: stage}\ngrants: [[files]]"
    ceiling = parse_ceiling(text, origin="/etc/c.yaml")

    def codes(request: ActionRequest) -> tuple[str, ...]:
        return _codes(_decide(policy, request, ceiling=ceiling, task="https://a.com/"))

    assert codes(_act("x", http=(HttpUse("GET", "https://a.com/"),))) == ("ceiling", "ceiling")
    assert codes(_act("x", needs=frozenset({N}))) == ("ceiling",)
    assert codes(_act("y")) == ("ceiling",)
    assert codes(_act("files", "read", paths=(PathUse("a.db", "read"),))) == ("ceiling",)
    assert codes(_act("files", "write", paths=(PathUse("ro/x", "write"),))) == ("ceiling",)
    assert codes(_act("files", "read", paths=(PathUse("ro/x", "read"),))) == ()


def test_a_decision_that_fails_is_a_denial() -> None:
    policy = _policy("commands: {allow: [x], rules: [{command: x, arguments: {a: [b]}}]}", grant="[]")
    deep: object = "b"
    for _ in range(50):
        deep = (deep,)

    class Hostile:
        def __iter__(self) -> object:
            raise RuntimeError

    assert isinstance(_decide(policy, _act("x", arguments={"a": "b"})), Allowed)
    assert _codes(_decide(policy, _act("x", arguments={"a": deep}))) == ("argument",)
    assert _codes(_decide(policy, _act("x", arguments={"a": Hostile()}))) == ("argument",)
    assert _codes(_decide(policy, _act("x", http=5, arguments={"a": "b"}))) == ("command",)


def test_a_kind_that_is_not_known_has_no_origin() -> None:
    policy = _policy("commands: {allow: [send]}")

    assert isinstance(_decide(policy, _send("a", "nonsense"), task="a"), Denied)


def test_a_value_hidden_in_a_mapping_is_not_looked_past() -> None:
    policy = _policy("commands: {allow: [x], rules: [{command: x, arguments: {a: [b]}}]}", grant="[]")

    assert _codes(_decide(policy, _act("x", arguments={"a": {"b": "evil"}}))) == ("argument",)


def test_an_action_of_all_three_needs_is_denied_under_a_ceiling_as_without() -> None:
    policy = _policy("commands: {allow: [x]}")
    ceiling = parse_ceiling("version: 1\ngrants: [[files]]", origin="c.yaml")
    request = _act("x", needs=frozenset({F, N, E}))

    assert _codes(_decide(policy, request)) == ("capability",)
    assert _codes(_decide(policy, request, ceiling=ceiling)) == ("capability", "ceiling")


def test_all_three_needs_are_never_granted() -> None:
    with pytest.raises(ForbiddenGrantError):
        _policy("", grant="[files, network, exec]")
