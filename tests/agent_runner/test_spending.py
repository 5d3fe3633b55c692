"""Whoever looks on sees what a session and those below it used, and each look costs little."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from agent_runner import host_log, past_below
from agent_runner.cli.attaching import LOOK_SECONDS, _View
from agent_runner.cli.live import LiveWatcher
from agent_runner.fold import read_past
from agent_runner.spending import Spending
from audit.index import read_index
from audit.reader import SessionReader
from tests.agent_runner.stand import SESSION, lines
from tests.agent_runner.test_one_pot import THRICE, cross, reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.past import Past
    from audit.index import HostIndex
    from audit.state import StateFiles
    from tests.agent_runner.stand import Stand


async def test_each_look_reads_what_has_ended_below_once_and_the_hosts_log_where_it_has_grown(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sessions below, of which one goes on."""
    await stand.run(reading(lines("delegate look"), lines("delegate look")), THRICE, may_delegate=True)
    ended, going_on = read_past(stand.state, SESSION).children
    await cross(stand, going_on, sent_bytes=5)
    read, looks = list[str](), list[int]()

    def reads(state: Path, session: str, *, conversation: bool) -> Past:
        read.append(session)
        return read_past(state, session, conversation=conversation)

    def looked(files: StateFiles) -> HostIndex:
        looks.append(1)
        return read_index(files)

    monkeypatch.setattr(past_below, "read_past", reads)
    monkeypatch.setattr(past_below, "read_index", looked)
    monkeypatch.setattr(host_log, "read_index", looked, raising=False)
    reader = SessionReader(stand.state, SESSION)
    spending = Spending(reader, stand.state)
    for entry, happened in reader.events():
        spending.take(entry, happened)

    sent = [{each.name: each.observed for each in spending.states()} for _ in range(3)]
    read_by_then, looks_by_then = list(read), len(looks)
    await cross(stand, going_on, sent_bytes=6)
    sent.append({each.name: each.observed for each in spending.states()})

    assert sent[0] == sent[1] == sent[2]
    assert read_by_then == [ended, going_on, going_on, going_on]
    assert looks_by_then == 1
    assert read[4:] == [going_on]
    assert len(looks) == 2
    assert sent[3]["turns"] == sent[0]["turns"] > 3


class Undrawn(LiveWatcher):
    """Draw nothing below."""

    def follow(self, states: Callable[[], list[BudgetExceeded]]) -> None:
        """Take no note."""


@pytest.mark.parametrize(("seconds", "expected"), [(LOOK_SECONDS, [0, 1]), (0.0, [0, 1, 2, 3])])
async def test_who_looks_on_adds_up_what_was_used_once_a_second_at_most(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, seconds: float, expected: list[int]
) -> None:
    """What has come meanwhile is added up the next time."""
    await stand.run(reading(lines("files list")), THRICE)
    now, looks = [100.0], list[int]()
    monkeypatch.setattr("agent_runner.cli.attaching.LOOK_SECONDS", seconds)
    clock = SimpleNamespace(time=time.time, monotonic=lambda: now[0])
    monkeypatch.setattr("agent_runner.cli.attaching.time", clock)
    view = _View(stand.state, SESSION, Undrawn())
    monkeypatch.setattr(view._spending, "states", lambda: looks.append(1) or [])

    counts = []
    first, *_ = view.told.reader.entries()
    for place in range(4):
        counts.append(len(looks))
        view.take(first)
        now[0] = 100.0 + place * 0.4
        view.show_budgets()

    assert sorted(set(counts)) == expected
    assert len(looks) == (2 if seconds else 4)
