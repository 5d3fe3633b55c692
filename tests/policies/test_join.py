# ruff: noqa: E501 - whole policies, one rule on each line
from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from arbitrary_policies import ACTIONS, policies
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.canonical import canonical_bytes
from policies.decide import decide
from policies.egress import egress_rules
from policies.errors import UnjoinableError
from policies.expectations import verdict_of
from policies.join import join
from policies.network_block import NetworkBlock
from policies.request import ActionRequest, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

RANK = {"deny": 0, "ask": 1, "allow": 2}


def _rank(policy: Policy, request: ActionRequest, task: str | None = "mail a@b.com") -> int:
    session = SessionFacts(grant=policy.grant, headless=False, task=task, calls={"g a": 1})
    return RANK[verdict_of(decide(policy, session, request))]


@given(policies(), policies())
def test_joining_is_commutative(one: Policy, other: Policy) -> None:
    assert canonical_bytes(join(one, other)) == canonical_bytes(join(other, one))


@given(policies(), policies(), policies())
def test_joining_is_associative(one: Policy, two: Policy, three: Policy) -> None:
    assert canonical_bytes(join(join(one, two), three)) == canonical_bytes(join(one, join(two, three)))


def _without_hosts(policy: Policy) -> bytes:
    return canonical_bytes(policy.replaced(network=policy.network and NetworkBlock(deny=policy.network.deny)))


@given(policies(), policies(), ACTIONS)
def test_joining_again_changes_no_decision(one: Policy, other: Policy, request: ActionRequest) -> None:
    """Rules of one host that ask or bound differently meet each other: a rule more, and nothing else."""
    joined = join(one, other)

    for again in (join(joined, one), join(joined, joined)):
        assert _rank(again, request) == _rank(joined, request)
        assert _without_hosts(again) == _without_hosts(joined)


@settings(max_examples=400)
@given(policies(), policies(), ACTIONS)
def test_a_joined_policy_is_never_wider_than_either(
    one: Policy, other: Policy, request: ActionRequest
) -> None:
    joined = join(one, other)

    for task in ("mail a@b.com, see https://x.a.com/a", None):
        assert _rank(joined, request, task) <= min(_rank(one, request, task), _rank(other, request, task))


def _reads(policy: Policy, host: str, port: int) -> bool | None:
    """Tell whether requests to a host are read; None where it cannot be reached."""
    rules = egress_rules(policy, host, port)
    return any(rule.by_request for rule in rules) if rules else None


@settings(max_examples=150)
@given(policies(), policies(), st.sampled_from(["a.com", "x.a.com", "y.x.a.com", "b.com"]))
def test_what_either_reads_is_read_after_joining(one: Policy, other: Policy, host: str) -> None:
    before = {_reads(one, host, 443), _reads(other, host, 443)}

    assert _reads(join(one, other), host, 443) in ({None, True} if before != {False} else {None, False})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{host: a.com, ask: true}", "{host: a.com}"),
        ("{host: a.com, limits: {sent_bytes: 1B}}", "{host: a.com}"),
        ("{host: a.com, methods: [GET]}", "{host: a.com}"),
        ("{host: a.com, methods: [GET]}", "{host: a.com, protocol: tcp}"),
        ("{host: a.com}", "{host: a.com, protocol: tcp}"),
    ],
)
def test_a_rule_that_holds_more_is_not_covered_by_one_that_holds_less(first: str, second: str) -> None:
    policy = parse_policy(_text((first, second)), origin="p")

    joined = join(policy, policy)

    assert joined.network is not None
    assert len(joined.network.allow) == 2
    assert joined == join(joined, policy) == policy


@settings(max_examples=150)
@given(policies(), ACTIONS)
def test_a_policy_joined_with_itself_decides_as_before(policy: Policy, request: ActionRequest) -> None:
    assert _rank(join(policy, policy), request) == _rank(policy, request)


@given(policies(), policies())
def test_numbers_and_switches_take_the_stricter_side(one: Policy, other: Policy) -> None:
    joined = join(one, other)

    assert joined.grant.capabilities == one.grant.capabilities & other.grant.capabilities
    assert joined.budget.turns == min(one.budget.turns, other.budget.turns)
    assert joined.counts_sinks == (one.counts_sinks or other.counts_sinks)
    assert joined.sinks == "strict" or "strict" not in {one.sinks, other.sinks}
    if joined.files is not None and one.files is not None and other.files is not None:
        assert set(joined.files.hide) == set(one.files.hide) | set(other.files.hide)
        assert joined.files.hide_defaults == (one.files.hide_defaults or other.files.hide_defaults)
        assert "stage" not in {one.files.access, other.files.access} or joined.files.access in {
            "read",
            "stage",
        }


@settings(max_examples=60)
@given(policies())
def test_what_is_written_down_is_read_back_the_same(policy: Policy) -> None:
    assert canonical_bytes(
        parse_policy(policy.as_yaml(), origin="resolved", resolved=True)
    ) == canonical_bytes(policy)


def _text(order: tuple[str, ...]) -> str:
    return "version: 1\nname: p\ngrant: [network]\nnetwork: {allow: [" + ", ".join(order) + "]}\n"


def test_the_order_of_rules_says_nothing() -> None:
    rules = [
        "{host: a.com}",
        "{host: '*.a.com', methods: [GET]}",
        "{host: x.a.com, methods: [POST], paths: [/a]}",
    ]

    digests = {parse_policy(_text(order), origin="p").digest for order in permutations(rules)}

    assert len(digests) == 1


def test_two_images_cannot_be_joined() -> None:
    one = parse_policy("version: 1\nname: p\ngrant: [exec]\nexec: {image: a}", origin="p")
    other = parse_policy("version: 1\nname: p\ngrant: [exec]\nexec: {image: b}", origin="p")

    with pytest.raises(UnjoinableError) as refused:
        join(one, other)
    assert refused.value.hint == "leave `image` out, or do not extend"
    assert join(one, one) == one


def test_rules_remember_their_files_after_joining() -> None:
    one = parse_policy("version: 1\nname: p\ngrant: [files]\nfiles: {hide: [a]}", origin="one.yaml")
    other = parse_policy("version: 1\nname: p\ngrant: [files]\nfiles: {hide: [b]}", origin="other.yaml")

    joined = join(one, other)

    assert joined.files is not None
    assert [str(glob.at) for glob in joined.files.hide] == ["one.yaml:4:16", "other.yaml:4:16"]
    assert [origin for origin, _ in joined.closure] == ["one.yaml", "other.yaml"]


ONE = """\
version: 1
name: one
grant: [files, network]
files: {access: stage, hide: [a], hide_defaults: false, protect: [b], protect_defaults: false, limits: {written_bytes: 9B, written_files: 1}}
network:
  allow:
    - {host: "*.a.com", ports: [80, 443], methods: [GET, POST], paths: ["/x", "/y"], credential: c, data: public, private: true, sink_pattern: true}
    - {host: b.com, credential: c}
    - {host: c.com, ports: [80]}
    - {host: d.com}
  deny: [q.a.com]
  limits: {sent_bytes: 9B, received_bytes: 1B, requests: 9}
isolation: {memory: 64MiB, cpus: 2, processes: 9, scratch: 9MiB, runtime: runc}
"""
OTHER = """\
version: 1
name: other
grant: [files, network]
files: {access: read, hide: [c], hide_defaults: true, visible: [.env], protect: [d], protect_defaults: true, limits: {written_bytes: 1B, written_files: 9}}
network:
  allow:
    - {host: x.a.com, ports: [443, 8443], methods: [POST, PUT], paths: ["/z"], credential: c, data: public, private: true, sink_pattern: true}
    - {host: b.com, credential: d, private: true, sink_pattern: true}
    - {host: c.com}
    - {host: d.com}
  deny: [r.a.com]
  limits: {sent_bytes: 1B, received_bytes: 9B, requests: 1}
isolation: {memory: 128MiB, cpus: 1, processes: 8, scratch: 8MiB, runtime: runsc}
"""
BOTH = """\
version: 1
name: both
grant: [files, network]
files: {access: read, hide: [a, c], visible: [.env], protect: [b, d], limits: {written_bytes: 1B, written_files: 1}}
network:
  allow:
    - {host: x.a.com, ports: [443], methods: [POST], paths: ["/x", "/y"], also: [["/z"]], credential: c, data: public, private: true, sink_pattern: true}
    - {host: b.com, methods: [GET, HEAD]}
    - {host: d.com}
  deny: [q.a.com, r.a.com]
  limits: {sent_bytes: 1B, received_bytes: 1B, requests: 1}
isolation: {memory: 64MiB, cpus: 1, processes: 8, scratch: 8MiB, runtime: runsc}
"""


@pytest.mark.parametrize("turned", [False, True])
def test_every_field_is_joined_as_written_here(turned: bool) -> None:  # noqa: FBT001 - which side comes first
    one, other = parse_policy(ONE, origin="one"), parse_policy(OTHER, origin="other")

    joined = join(other, one) if turned else join(one, other)

    assert joined.as_yaml().splitlines()[2:] == parse_policy(BOTH, origin="both").as_yaml().splitlines()[2:]
    assert joined.network is not None
    assert [(rule.host.text, rule.methods) for rule in joined.network.allow[-2:]] == [
        ("b.com", ("GET", "HEAD")),
        ("d.com", None),
    ], "what both read for a credential that they do not share is read still; what neither reads is not"


@pytest.mark.parametrize(
    ("first", "second", "contents"), [("public", "public", "public"), ("public", None, None)]
)
def test_an_image_stays_public_only_when_both_say_so(
    first: str, second: str | None, contents: str | None
) -> None:
    def made(word: str | None) -> Policy:
        block = f"{{contents: {word}}}" if word else "{}"
        return parse_policy(f"version: 1\nname: p\ngrant: [exec]\nexec: {block}", origin="p")

    joined = join(made(first), made(second))

    assert joined.exec is not None
    assert joined.exec.contents == contents
    with pytest.raises(UnjoinableError) as refused:
        join(parse_policy("version: 1\nname: p\ngrant: [exec]\nexec: {image: a}", origin="p"), made(None))
    assert refused.value.key == "exec.image"
    assert refused.value.message == "image `a` is not `pairlock/starter`, which the other policy fixes"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("", "methods: [GET]", {"methods": ("GET",)}),
        ("", "methods: [HEAD, POST]", {"methods": ("HEAD",)}),
        ("paths: [/a]", "", {"methods": None}),
        ("credential: c, data: public", "credential: c", {"credential": "c", "data": None}),
        ("credential: c, data: public", "credential: c, data: public", {"credential": "c", "data": "public"}),
        ("credential: c", "", {"credential": None, "methods": ("GET", "HEAD")}),
        ("private: true", "private: true", {"private": True}),
        ("private: true", "", {"private": False}),
        ("sink_pattern: true", "sink_pattern: true", {"sink_pattern": True}),
        ("sink_pattern: true", "", {"sink_pattern": False}),
        ("ports: [80, 443]", "ports: [80, 8080]", {"ports": (80,)}),
        ("paths: [/a]", "paths: [/b]", {"also": (("/b",),)}),
    ],
)
def test_a_rule_that_two_share_allows_only_what_both_do(
    one: str,
    other: str,
    both: dict[str, object],
    turned: bool,  # noqa: FBT001 - which side comes first
) -> None:
    def made(rule: str) -> Policy:
        text = f"version: 1\nname: p\ngrant: [network]\nnetwork: {{allow: [{{host: a.com, {rule}}}]}}"
        return parse_policy(text.replace(", }", "}"), origin="p")

    joined = join(made(other), made(one)) if turned else join(made(one), made(other))

    assert joined.network is not None
    rule = joined.network.allow[0]
    found = {name: getattr(rule, name) for name in both}
    found |= (
        {"also": tuple(tuple(path.text for path in group) for group in rule.also)} if "also" in both else {}
    )
    assert found == both
    assert rule.by_request == any(word in one + other for word in ("methods", "paths", "credential"))


def test_what_both_sides_undo_stays_undone() -> None:
    text = "version: 1\nname: p\ngrant: [files]\nfiles: {%s_defaults: false}"
    for key in ("hide", "protect"):
        one = parse_policy(text % key, origin="one")

        joined = join(one, one)

        assert joined.files is not None
        assert getattr(joined.files, f"{key}_defaults") is False


def test_the_programs_of_both_sides_are_kept_and_no_others() -> None:
    def made(programs: str) -> Policy:
        return parse_policy(f"version: 1\nname: p\ngrant: [exec]\nexec: {{programs: {programs}}}", origin="p")

    for one, other, names, is_any in (
        ("[a, b]", "[b, c]", ("b",), False),
        ("any", "[b, c]", ("b", "c"), False),
        ("[a]", "any", ("a",), False),
        ("any", "any", (), True),
        ("[a]", "[]", (), False),
    ):
        joined = join(made(one), made(other))
        assert joined.exec is not None
        assert (joined.exec.programs.names, joined.exec.programs.any_program) == (names, is_any)


def test_commands_are_joined_by_deny_over_ask_over_allow() -> None:
    def made(name: str, commands: str) -> Policy:
        text = f"version: 1\nname: {name}\ndescription: of {name}\ngrant: []\ncommands: {{{commands}}}"
        return parse_policy(text, origin=name)

    one = made("one", "allow: ['g *', h, i], deny: [x], rules: [{command: h, max_calls: 1}]")
    other = made("other", "allow: [g a, i], ask: [h, g b], deny: [y], rules: [{command: h, max_calls: 2}]")

    joined = join(one, other)

    assert (joined.name, joined.description) == ("one", "of one")
    commands = joined.commands
    assert [pattern.text for pattern in commands.allow] == ["g a", "i"]
    assert sorted(pattern.text for pattern in commands.ask) == ["g b", "h"]
    assert sorted(pattern.text for pattern in commands.deny) == ["x", "y"]
    assert sorted(int(rule.max_calls or 0) for rule in commands.rules) == [1, 2]
