"""A difference of two policies and their decisions say the same, for whatever two policies and action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arbitrary_policies import F, N, policies
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.action_line import request_from_line, request_from_values
from policies.decide import decide
from policies.diff import diff
from policies.expectations import verdict_of
from policies.facts import ArgumentFacts, CommandFacts
from policies.request import SessionFacts
from policies.sinks import each_value

if TYPE_CHECKING:
    from policies.policy import Policy
    from policies.request import ActionRequest

RANK = {"deny": 0, "ask": 1, "allow": 2}
URL = ArgumentFacts(name="url", role="url", positional=True)
NUMBER = ArgumentFacts(name="n")
COMMANDS = (
    CommandFacts(path=("finish",), needs=frozenset()),
    CommandFacts(
        path=("g", "a"), needs=frozenset(), arguments=(ArgumentFacts(name="to", sink="address"), NUMBER)
    ),
    CommandFacts(path=("g", "b"), needs=frozenset({N}), arguments=(URL, NUMBER), method="GET"),
    CommandFacts(path=("g", "c"), needs=frozenset({N}), arguments=(URL,), method="POST"),
    CommandFacts(
        path=("h",),
        needs=frozenset({F}),
        arguments=(ArgumentFacts(name="p", role="read", positional=True), NUMBER),
    ),
    CommandFacts(
        path=("h", "x"),
        needs=frozenset({F}),
        arguments=(ArgumentFacts(name="p", role="write", positional=True),),
    ),
)
HOSTS = ("a.com", "x.a.com", "y.x.a.com", "b.com")
VALUES = {
    "to": ["a@b.com", "x@y.com"],
    "n": ["1", "2", "1a", "x2", "z"],
    "url": [
        f"{s}://{host}{path}"
        for s in ("https", "http")
        for host in HOSTS
        for path in ("/", "/a", "/a/b", "/q")
    ],
    "p": ["a", "b", "x.c", "a/b", "d/b", ".env", ".env.x", "q", ".git/config"],
}


@st.composite
def _requests(draw: st.DrawFn) -> ActionRequest:
    facts = draw(st.sampled_from(COMMANDS))
    given_ = [argument for argument in facts.arguments if argument.positional or draw(st.booleans())]
    return request_from_values(
        facts, {argument.name: [draw(st.sampled_from(VALUES[argument.name]))] for argument in given_}
    )


def _rank(policy: Policy, request: ActionRequest, task: str | None) -> int:
    return RANK[
        verdict_of(decide(policy, SessionFacts(grant=policy.grant, headless=False, task=task), request))
    ]


def _tasks(request: ActionRequest) -> tuple[str, None]:
    named = [*(value for sink in request.sinks for value in each_value(sink.value))]
    return " ".join((*named, *(use.url for use in request.http))), None


@settings(max_examples=15)
@given(policies(), policies())
def test_each_witness_passes_under_the_wider_policy_and_not_under_the_other(old: Policy, new: Policy) -> None:
    """In a task that names every destination, or in one that names none."""
    shown = [change for change in diff(old, new, COMMANDS).widenings if change.witness is not None]

    for change in shown:
        if " times" in change.message:
            continue  # more calls of the same action
        request = request_from_line(str(change.witness), COMMANDS)
        assert any(_rank(new, request, task) > _rank(old, request, task) for task in _tasks(request)), change


@settings(max_examples=25)
@given(policies(), policies(), _requests())
def test_a_policy_that_lets_one_action_more_through_is_called_wider(
    old: Policy, new: Policy, request: ActionRequest
) -> None:
    if any(_rank(new, request, task) > _rank(old, request, task) for task in _tasks(request)):
        assert diff(old, new, COMMANDS).is_wider
