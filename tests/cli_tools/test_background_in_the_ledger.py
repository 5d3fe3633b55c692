"""How programs in the background end, in the ledger: each one that was started has exactly one end there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli_tools.run import jobs
from tests.cli_tools.door import open_door

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli_tools.door import Door

POLICY = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run, "run *"]}
"""
PLAIN = ("outcome", "exit_code", "output_bytes", "truncated_bytes", "detail")


async def started(door: Door, script: str, *options: str) -> str:
    """Start a script in the background, and return the action that did."""
    seen = await door.tool("run", argv=["sh", "-c", script], background=True, **dict.fromkeys(options, 1))
    return seen.action


def ends(door: Door) -> list[dict[str, Any]]:
    return door.entries("process.ended")


def plain(end: dict[str, Any]) -> tuple[object, ...]:
    return tuple(end.get(name) for name in PLAIN)


async def test_the_end_of_a_program_is_an_entry_that_names_the_action_which_started_it(place: Path) -> None:
    async with open_door(place, POLICY) as door:
        first = await started(door, "echo one; exit 3")
        second = await started(door, "echo good")
        for job in (1, 2):
            await door.line(f"run status {job} --wait 60")
        await door.gate.close()
        found = {end["action"]: end for end in ends(door)}
        begun = [entry["action"] for entry in door.entries("process.started")]

    assert begun == [first, second]
    assert plain(found[first]) == ("failed", 3, 4, 0, "")
    assert plain(found[second]) == ("ok", 0, 5, 0, "")
    assert all(end["duration_ms"] >= 0 for end in found.values())


async def test_a_program_that_was_stopped_or_outlived_its_time_says_so_once(place: Path) -> None:
    async with open_door(place, POLICY) as door:
        stopped = await started(door, "sleep 300")
        await door.line("run stop 1")
        await door.line("run stop 1")
        late = await started(door, "sleep 300", "timeout")
        await door.line("run status 2 --wait 60")
        await door.gate.close()
        found = [(end["action"], end["outcome"], end["exit_code"]) for end in ends(door)]
        limits = [(hit["limit"], hit["action"], hit["bound"]) for hit in door.entries("limit.hit")]

    assert found[0] == (stopped, "cancelled", None)
    assert found[1][:2] == (late, "timed_out")
    assert len(found) == 2
    assert limits == [("action.time", late, 1000)]


async def test_programs_that_the_end_of_the_session_ends_are_told_before_it_is_over(place: Path) -> None:
    async with open_door(place, POLICY) as door:
        actions = [await started(door, "sleep 300") for _ in range(3)]
        await door.gate.close()
        found = ends(door)

    assert sorted(end["action"] for end in found) == sorted(actions)
    assert {(end["outcome"], end["detail"]) for end in found} == {("cancelled", "it was stopped")}


async def test_a_program_that_does_not_end_in_time_is_told_as_such_and_not_once_more(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session waits no longer for it, and what it comes to later is nobody's entry."""
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.0)
    async with open_door(place, POLICY) as door:
        action = await started(door, "trap '' TERM; while :; do sleep 1; done")
        await door.gate.close()
        await door.line("run status 1 --wait 60")
        found = ends(door)

    assert [(end["action"], end["outcome"]) for end in found] == [(action, "cancelled")]
    assert found[0]["detail"] == "it was told to end, and had not when its session did"


async def test_a_program_that_could_not_be_started_has_an_end_that_says_why(place: Path) -> None:
    async with open_door(place, POLICY) as door:
        seen = await door.tool("run", argv=["no-such-program"], background=True)
        await door.gate.close()
        (end,) = ends(door)

    assert seen.code == "not-found"
    assert (end["action"], end["outcome"], end["exit_code"]) == (seen.action, "failed", None)
    assert end["detail"] == "not-found: program `no-such-program` was not found in PATH"


async def test_a_guest_that_dies_ends_its_programs_in_the_ledger(place: Path) -> None:
    async with open_door(place, POLICY) as door:
        action = await started(door, "sleep 300")
        await door.sandbox.link.close()
        await door.gate.close()
        found = ends(door)

    assert [(end["action"], end["outcome"]) for end in found] == [(action, "sandbox_failed")]
