"""Killed at any entry, asking, delegating, shortening or resuming, a session ends as one never killed."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

from agent_runner.errors import InvalidInputError
from audit.index import read_index
from audit.state import StateFiles
from audit.verify import verify_session
from tests.agent_runner.kills import SCENARIOS, counted, die
from tests.agent_runner.stand import SESSION, Stand
from tests.agent_runner.test_resume_boundaries import decisions, tree
from tests.sandbox.guest.launch import reachable_folder

Whole = tuple[dict[str, bytes], list[tuple[list[str], str]]]
QUICK = {("asks", 11, "after"), ("asks", 12, "after"), ("asks", 13, "before"), ("delegates", 11, "after"),
         ("delegates", 12, "after"), ("delegates", 31, "before"), ("asks below", 15, "after"),
         ("asks below", 24, "after"), ("shortens", 20, "before"), ("shortens", 20, "after")}  # fmt: skip
POINTS = [
    (name, number, when)
    for name, chosen in {
        "asks": range(2, SCENARIOS["asks"].entries + 1),
        "delegates": range(8, SCENARIOS["delegates"].entries + 1),
        "asks below": range(11, 40),
        "shortens": range(17, 25),
    }.items()
    for number in chosen
    for when in ("before", "after")
]
AGAIN = [(first, second) for first in (8, 20) for second in range(1, 14)]
"""Killed at the first entry, and while it goes on at the second that this process records."""


@pytest.fixture(scope="module")
def whole() -> dict[str, tuple[Whole, int]]:
    """Return, for each scenario, what comes of it when nobody kills it, and how many entries that takes."""
    return {name: ended_whole(name) for name in SCENARIOS}


def ended_whole(name: str) -> tuple[Whole, int]:
    """Run a scenario whole."""
    with reachable_folder() as folder, contextmanager(counted)() as count:
        stand = Stand(folder)
        SCENARIOS[name].prepare(stand.folder)
        result = asyncio.run(SCENARIOS[name].run(stand))
        assert (result.status, result.reason) == ("done", "ready")
        return (tree(stand.folder), decisions(stand)), count[0]


def marked(points: list[tuple[str, int, str]]) -> list[object]:
    """Return the points as parameters; most of them are for the long run."""
    return [
        pytest.param(*point, id="-".join(map(str, point)), marks=() if point in QUICK else pytest.mark.long)
        for point in points
    ]


async def gone_on(name: str, stand: Stand) -> Whole:
    """Go on with a killed session to its end, unless it is over already; return what came of it."""
    if stand.entries("session.closed"):
        with pytest.raises(InvalidInputError, match="is over: it ended as `done`"):
            await SCENARIOS[name].resume(stand)
    else:
        result = await SCENARIOS[name].resume(stand)
        assert (result.status, result.reason) == ("done", "ready")
    finished = [entry["action"] for entry in stand.entries("action.finished")]
    assert len(finished) == len(set(finished))
    assert not any(verify_session(stand.state, each).faults() for each in sessions(stand))
    return tree(stand.folder), decisions(stand)


def sessions(stand: Stand) -> list[str]:
    """Return the sessions that are registered and have a ledger."""
    files = StateFiles(stand.state)
    return [each for each in read_index(files).sessions if files.session(each).events.exists()]


def test_the_matrix_knows_how_long_each_scenario_is(whole: dict[str, tuple[Whole, int]]) -> None:
    assert {name: count for name, (_, count) in whole.items()} == {
        name: scenario.entries for name, scenario in SCENARIOS.items()
    }


@pytest.mark.parametrize(("name", "number", "when"), marked(POINTS))
async def test_a_session_killed_at_any_kind_of_entry_ends_as_one_never_killed(
    stand: Stand, whole: dict[str, tuple[Whole, int]], name: str, number: int, when: str
) -> None:
    """The same tree and decisions: between question and answer, in a session below, while shortening."""
    SCENARIOS[name].prepare(stand.folder)
    assert await asyncio.to_thread(die, name, stand, number, when)

    assert await gone_on(name, stand) == whole[name][0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(first, second, marks=() if (first, second) == (20, 3) else pytest.mark.long)
        for first, second in AGAIN
    ],
)
async def test_a_session_killed_while_it_goes_on_goes_on_again(
    stand: Stand, whole: dict[str, tuple[Whole, int]], first: int, second: int
) -> None:
    """Recovery's own entries, the note to the model, an outcome told as unknown: none of them twice."""
    SCENARIOS["acts"].prepare(stand.folder)
    assert await asyncio.to_thread(die, "acts", stand, first, "after")
    await asyncio.to_thread(die, "acts", stand, second, "after", how="resume")

    assert await gone_on("acts", stand) == whole["acts"][0]
    assert SESSION in sessions(stand)
