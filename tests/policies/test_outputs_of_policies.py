"""`outputs` keeps a folder at the end: joining adds none, and a comparison tells of a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from policy_vocabulary import COMMANDS

from policies.diff import diff
from policies.join import join
from policies.source import SourceText, parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

BASE = "version: 1\nname: p\ngrant: [exec]\ncommands: {allow: [run]}\n"


def _policy(outputs: str | None) -> Policy:
    return parse_policy(BASE + (f"outputs: {outputs}\n" if outputs else ""), origin="p.yaml")


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [("a", "a", "a"), ("a", "b", None), ("a", None, None), (None, None, None)],
)
def test_a_folder_is_kept_where_both_sides_name_it(
    one: str | None, other: str | None, kept: str | None
) -> None:
    """Extending is joining: a file that extends a policy without the folder cannot add it."""
    for first, second in ((one, other), (other, one)):
        assert join(_policy(first), _policy(second)).outputs == kept

    text = f"version: 1\nname: c\nextends: base\n{f'outputs: {other}' if other else ''}\n"
    base = BASE + (f"outputs: {one}\n" if one else "")
    child = parse_policy(text, origin="c.yaml", find=lambda _: SourceText("base.yaml", base))
    assert child.outputs == (one if other is None else kept)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [(None, "a", "a"), ("b", "a", "a"), ("a", "a", None), ("a", None, None), (None, None, None)],
)
def test_a_folder_that_is_newly_kept_is_wider(old: str | None, new: str | None, told: str | None) -> None:
    found = diff(_policy(old), _policy(new), COMMANDS)

    messages = [f"the folder `{told}` is kept at the end of a session"] if told else []
    assert [change.message for change in found.widenings] == messages
    assert found.is_wider == bool(told)
