"""Pieces of calls at one index, where names and ids do not say whose they are: one call is never two."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.backends.test_chat_quirks import call, calls, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent_runner.backends.test_chat_quirks import Chunk

X, Y = '{"p":"x"}', '{"p":"y"}'


Piece = tuple[str | None, object, str | None]


def at_one_index(*pieces: Piece) -> tuple[Chunk, ...]:
    """Return pieces of calls, each its name, its arguments and its id, where there is one."""
    return tuple(
        call(name, arguments, index=0, **({"id": call_id} if call_id else {}))
        for name, arguments, call_id in pieces
    )


ONE: dict[str, list[Piece]] = {
    "named again behind its arguments": [("sh", "", "a"), (None, X, None), ("sh", "", None)],
    "named again behind its arguments, no id": [("sh", "", None), (None, X, None), ("sh", "", None)],
    "named at its start and end": [("sh", '{"p', None), (None, '":', None), ("sh", '"x"}', None)],
    "named again in between": [("sh", '{"p', "a"), ("sh", "", None), (None, '":"x"}', None)],
    "named in each piece": [("sh", '{"p":', None), ("sh", '"x"', None), ("sh", "}", None)],
    "a placeholder": [("sh", "{}", "a"), (None, X, None)],
    "a placeholder that is an object": [("sh", {}, "a"), (None, X, None)],
    "a placeholder, and named again": [("sh", "{}", "a"), ("sh", X, None)],
    "a placeholder, and named in pieces": [("sh", "{}", "a"), ("sh", '{"p":', None), ("sh", '"x"}', "a")],
}
TWO: dict[str, list[Piece]] = {
    "each in two named pieces": [("sh", '{"p":', None), ("sh", '"x"}', None)] * 2,
    "each in two pieces, the later without a name": [("sh", '{"p":', None), (None, '"x"}', None)] * 2,
    "each named before its arguments": [("sh", "", None), (None, '{"p":', None), (None, '"x"}', None)] * 2,
    "each named and named again": [("sh", "", None), (None, X, None), ("sh", "", None)] * 2,
    "only the first with an id": [("sh", X, "a"), ("sh", X, None)],
    "ids of their own": [("sh", "{}", "a"), ("sh", X, "a"), ("sh", "{}", "b"), (None, X, None)],
}


@pytest.mark.parametrize("name", ONE)
def test_pieces_of_one_call_are_one(name: str) -> None:
    """The second would be run as well."""
    assert calls(*at_one_index(*ONE[name])) == [("sh", X)]


@pytest.mark.parametrize("name", TWO)
def test_pieces_of_two_calls_of_one_tool_are_two(name: str) -> None:
    assert calls(*at_one_index(*TWO[name])) == [("sh", X)] * 2


@pytest.mark.parametrize("call_id", ["a", None])
def test_no_arguments_are_a_calls_own_where_none_follow(call_id: str | None) -> None:
    """Nor do those of another tool belong to it."""
    pieces = at_one_index(("now", "{}", call_id), ("sh", X, None), ("sh", Y, None))

    assert calls(*pieces) == [("now", "{}"), ("sh", X), ("sh", Y)]


def test_looking_whether_arguments_are_whole_is_bounded() -> None:
    """Pieces that all look like a beginning: each look at 16 MiB would hold the runner up."""
    begun = '{"p":"' + "x" * 2**24
    pieces = at_one_index(("sh", begun, "a"), *[("sh", "{}", None)] * 1000)
    one_look = _seconds(lambda: json.loads(f'{begun}"}}'))

    assert _seconds(lambda: read(*pieces)) < 200 * one_look


def _seconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began
