from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from arbitrary_policies import ACTIONS, policies
from hypothesis import given, settings

from policies.canonical import canonical_bytes
from policies.decide import decide
from policies.expectations import verdict_of
from policies.join import ImageConflictError, join
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


@given(policies(), policies())
def test_joining_again_changes_nothing(one: Policy, other: Policy) -> None:
    joined = join(one, other)

    assert canonical_bytes(join(joined, one)) == canonical_bytes(joined)
    assert canonical_bytes(join(joined, joined)) == canonical_bytes(joined)


@settings(max_examples=400)
@given(policies(), policies(), ACTIONS)
def test_a_joined_policy_is_never_wider_than_either(
    one: Policy, other: Policy, request: ActionRequest
) -> None:
    joined = join(one, other)

    for task in ("mail a@b.com, see https://x.a.com/a", None):
        assert _rank(joined, request, task) <= min(_rank(one, request, task), _rank(other, request, task))


@settings(max_examples=150)
@given(policies(), ACTIONS)
def test_a_policy_joined_with_itself_decides_as_before(policy: Policy, request: ActionRequest) -> None:
    assert _rank(join(policy, policy), request) == _rank(policy, request)


@given(policies(), policies())
def test_numbers_and_switches_take_the_stricter_side(one: Policy, other: Policy) -> None:
    joined = join(one, other)

    assert joined.grant.capabilities == one.grant.capabilities & other.grant.capabilities
    assert joined.budget.turns == min(one.budget.turns, other.budget.turns)
    assert (joined.sinks == "strict") == ("strict" in {one.sinks, other.sinks})
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
    assert canonical_bytes(parse_policy(policy.as_yaml(), origin="resolved")) == canonical_bytes(policy)


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

    with pytest.raises(ImageConflictError):
        join(one, other)
    assert join(one, one) == one


def test_rules_remember_their_files_after_joining() -> None:
    one = parse_policy("version: 1\nname: p\ngrant: [files]\nfiles: {hide: [a]}", origin="one.yaml")
    other = parse_policy("version: 1\nname: p\ngrant: [files]\nfiles: {hide: [b]}", origin="other.yaml")

    joined = join(one, other)

    assert joined.files is not None
    assert [str(glob.at) for glob in joined.files.hide] == ["one.yaml:4:16", "other.yaml:4:16"]
    assert [origin for origin, _ in joined.closure] == ["one.yaml", "other.yaml"]
