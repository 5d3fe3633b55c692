"""A machine that is switched off in the middle of a session keeps what was synced, and goes on."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from audit.errors import AuditError
from tests.agent_runner.kills import SCENARIOS
from tests.agent_runner.power_cut import cut, restored
from tests.agent_runner.stand import SESSION, Stand
from tests.agent_runner.test_kill_matrix import Whole, ended_whole, gone_on

QUICK = {("asks", 12, "after"), ("delegates", 31, "after"), ("acts", 9, "before")}
POINTS = [
    (name, number, when)
    for name, numbers in {
        "asks": range(3, SCENARIOS["asks"].entries, 2),
        "delegates": range(9, SCENARIOS["delegates"].entries, 4),
        "acts": range(3, SCENARIOS["acts"].entries, 6),
    }.items()
    for number in numbers
    for when in ("before", "after")
]


@pytest.fixture(scope="module")
def whole() -> dict[str, Whole]:
    """Return, for each scenario, what comes of it when the power stays on."""
    return {name: ended_whole(name)[0] for name in ("asks", "delegates", "acts")}


@pytest.mark.parametrize(
    ("name", "number", "when"),
    [
        pytest.param(*point, id="-".join(map(str, point)), marks=() if point in QUICK else pytest.mark.long)
        for point in sorted({*POINTS, *QUICK})
    ],
)
async def test_a_session_whose_power_fails_goes_on_from_what_was_synced(
    stand: Stand, whole: dict[str, Whole], name: str, number: int, when: str
) -> None:
    """The ledgers lose nothing that anybody was told of; tree and decisions end up the same."""
    SCENARIOS[name].prepare(stand.folder)

    lost = await asyncio.to_thread(cut, name, stand, number, when)

    assert {file: size for file, size in lost.items() if when == "after" and SESSION in file} == {}
    assert await gone_on(name, stand) == whole[name]


async def test_a_session_that_synced_nothing_has_nothing_to_go_on_with(stand: Stand) -> None:
    """The twin: what the others find there is there because it was synced."""
    SCENARIOS["acts"].prepare(stand.folder)
    await asyncio.to_thread(cut, "acts", stand, 12, "after")
    shutil.rmtree(stand.place / "synced")

    lost = restored(stand)

    assert f"sessions/{SESSION}/events.jsonl" in lost
    with pytest.raises(AuditError):
        await SCENARIOS["acts"].resume(stand)
