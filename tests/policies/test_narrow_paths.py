"""The narrowest policy of a recorded session binds its files: to the folders that each command used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.capability import Capability
from policies.decide import decide
from policies.narrow import narrowest
from policies.narrow_paths import MOST_FOLDERS
from policies.request import ActionRequest, Allowed, Decision, Denied, PathUse, SessionFacts, SinkUse
from policies.source import parse_policy

FILES = frozenset({Capability.FILES})


def _call(word: str, *paths: str, **more: str) -> ActionRequest:
    uses = tuple(PathUse(path, "write" if word in {"write", "move"} else "read") for path in paths)
    named = dict(zip(("path", "to"), paths, strict=False))
    return ActionRequest(command=("files", word), needs=FILES, arguments={**named, **more}, paths=uses)


def _replayed(recorded: list[ActionRequest], action: ActionRequest) -> Decision:
    policy = parse_policy(narrowest(recorded, name="n").as_yaml(), origin="n.yaml")
    return decide(policy, SessionFacts(grant=policy.grant), action)


SESSION = [
    _call("read", "src/app/main.py"), _call("read", "src/app/other.py"), _call("read", "README.md"),
    _call("write", "src/app/main.py"), _call("move", "src/a.py", "old/a.py"), _call("list", "."),
]  # fmt: skip


def test_the_recorded_session_runs_under_its_own_draft() -> None:
    assert all(isinstance(_replayed(SESSION, action), Allowed) for action in SESSION)


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        (_call("read", "src/app/third.py"), True),
        (_call("read", "src/other/x.py"), False),
        (_call("read", "LICENSE"), False),
        (_call("read", "src"), False),
        (_call("write", "README.md"), False),
        (_call("write", "src/app/new.py"), True),
        (_call("write", "src/b.py"), False),
        (_call("move", "src/b.py", "old/b.py"), True),
        (_call("move", "old/b.py", "src/b.py"), False),
        (_call("list", "src"), False),
    ],
)
def test_what_lies_beside_the_folders_that_were_used_is_denied(
    action: ActionRequest, *, allowed: bool
) -> None:
    decision = _replayed(SESSION, action)

    assert isinstance(decision, Allowed) is allowed
    if isinstance(decision, Denied):
        assert {reason.code for reason in decision.reasons} == {"argument"}


def test_an_argument_that_was_not_a_path_each_time_is_not_bound() -> None:
    recorded = [_call("search", "src/a.py"), _call("search", name="x")]

    assert all(isinstance(_replayed(recorded, action), Allowed) for action in recorded)
    assert isinstance(_replayed(recorded, _call("search", "other/b.py")), Allowed)


def test_many_folders_are_bound_by_those_of_the_workspace_itself() -> None:
    recorded = [_call("read", f"src/d{number}/a.py") for number in range(MOST_FOLDERS + 1)]

    assert all(isinstance(_replayed(recorded, action), Allowed) for action in recorded)
    assert isinstance(_replayed(recorded, _call("read", "src/new/a.py")), Allowed)
    assert isinstance(_replayed(recorded, _call("read", "docs/a.md")), Denied)


def test_more_names_than_a_rule_holds_are_not_bound() -> None:
    recorded = [_call("read", f"a{number}.py") for number in range(MOST_FOLDERS + 1)]

    assert all(isinstance(_replayed(recorded, action), Allowed) for action in recorded)


PATHS = st.lists(
    st.sampled_from(["a", "b c", "?", ": 0", "é", "x.py", "-", "#", "'", "a" * 1300, "\u202e", "[1]"]),
    min_size=1,
    max_size=3,
).map("/".join)


@given(st.lists(PATHS, min_size=1, max_size=5))
def test_whatever_was_read_may_be_read_again(paths: list[str]) -> None:
    recorded = [_call("read", path) for path in paths]

    assert all(isinstance(_replayed(recorded, action), Allowed) for action in recorded)


STARRED = [_call("read", path) for path in ("*/x", "a*", "*", "src/*/b.py", "/workspace/*", "lib/c*")]


@pytest.mark.parametrize("near", ["b/x", "ab", "src/c/b.py", "/workspace/x", "q/r/s", "x"])
def test_a_star_in_a_recorded_path_lets_nothing_else_be_read(near: str) -> None:
    assert isinstance(_replayed(STARRED, _call("read", near)), Denied)


def test_twin_what_can_be_said_of_paths_with_stars_is_said() -> None:
    """A folder without a star covers the name with one; what no value can say is denied, not opened."""
    found = [isinstance(_replayed(STARRED, action), Allowed) for action in STARRED]

    assert found == [False, False, False, False, False, True]
    assert isinstance(_replayed(STARRED[:1], STARRED[0]), Denied)


def test_many_odd_spellings_are_not_cut_to_a_folder_that_is_none() -> None:
    recorded = [_call("read", f"d{number}/a.py") for number in range(MOST_FOLDERS - 3)]
    odd = ("/workspace/src/a.py", "/workspace/src/b.py", "./q", "x//y")
    recorded += [_call("read", path) for path in odd]

    assert all(isinstance(_replayed(recorded, action), Allowed) for action in recorded)
    for near in ("/workspace/other/a.py", "./other", "./a/b", "x/z", "/workspace/a.py"):
        assert isinstance(_replayed(recorded, _call("read", near)), Denied), near


def test_a_destination_with_a_star_is_no_pattern_of_destinations() -> None:
    def send(to: str) -> ActionRequest:
        return ActionRequest(command=("send",), arguments={"to": to}, sinks=(SinkUse("to", "address", to),))

    recorded = [send("*@a.com"), send("eve@b.com"), send("no address")]

    assert isinstance(_replayed(recorded, send("eve@b.com")), Allowed)
    for near in ("bob@a.com", "*@a.com", "no address"):
        assert isinstance(_replayed(recorded, send(near)), Denied), near
    for name in ("bob@a.com", "*@a.com"):
        assert isinstance(_replayed(recorded[:1], send(name)), Denied), name
