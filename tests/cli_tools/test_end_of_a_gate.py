"""The end of a session: what runs in the background is ended, whatever it does when it is told to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cli_tools.action import LineProposal
from tests.cli_tools.door import open_door
from tests.cli_tools.test_stubs import calling

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli_tools.door import Door

POLICY = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run, "run *"]}
"""
STARTS_MORE_WHEN_IT_IS_TOLD_TO_END = (
    "trap 'for n in 1 2 3; do "
    "run --background sleep 300 & echo $n | files write left.txt & done; wait' TERM; "
    "echo $$ > pid; mv pid ready; while [ ! -e gone ]; do sleep 0.05; done"
)


async def started(door: Door, folder: Path, script: str) -> str:
    """Start a script in the background, wait until it says that it is ready, and return its action."""
    seen = await door.tool("run", argv=["sh", "-c", script], background=True)
    for _ in range(1200):
        if (folder / "ready").exists():
            return seen.action
        await asyncio.sleep(0.05)
    raise AssertionError(seen.text)


async def sleeping(door: Door) -> str:
    """Return how many programs sleep inside for as long as those of the script would."""
    script = (
        "exec 2>/dev/null; for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done "
        "| grep -c '^sleep 300 $'; true"
    )
    return (await door.tool("run", argv=["sh", "-c", script])).text.strip()


async def test_a_program_that_starts_others_when_it_is_told_to_end_leaves_none(place: Path) -> None:
    """Each program that was started has one end in the ledger, and nothing runs or is written afterwards."""
    async with calling(place) as door:
        action = await started(door, place / "workspace", STARTS_MORE_WHEN_IT_IS_TOLD_TO_END)
        before = len(door.entries("action.intended"))
        await door.gate.close()
        ends = [end["action"] for end in door.entries("process.ended")]
        calls = len(door.entries("action.intended")) - before
        left = await sleeping(door)

    assert ends == [action]
    assert calls == 0
    assert left == "0"
    assert not (place / "workspace" / "left.txt").exists()


async def test_the_same_program_starts_others_while_the_session_goes_on(place: Path) -> None:
    """The twin: told to end by itself, it may call whatever the policy allows."""
    async with calling(place) as door:
        await started(door, place / "workspace", STARTS_MORE_WHEN_IT_IS_TOLD_TO_END)
        await door.tool("run", argv=["sh", "-c", "kill -TERM $(cat ready)"])
        for _ in range(200):
            if await sleeping(door) == "3" and (place / "workspace" / "left.txt").exists():
                break
            await asyncio.sleep(0.05)
        running = await sleeping(door)
        await door.gate.close()
        left = await sleeping(door)
        ends = [end["action"] for end in door.entries("process.ended")]

    assert running == "3"
    assert (place / "workspace" / "left.txt").exists()
    assert left == "0"
    assert len(ends) == len(set(ends)) == 4


async def test_an_action_of_a_program_is_over_before_the_gate_is_closed(place: Path) -> None:
    """What it called before the end has its outcome in the ledger; what it calls later means nothing."""
    async with open_door(place, POLICY) as door:
        slow = asyncio.create_task(door.gate.act(LineProposal(line="run sleep 0.5", body=None), parent=""))
        for _ in range(200):
            if door.entries("process.started"):
                break
            await asyncio.sleep(0.05)
        await door.gate.close()
        finished = [(end["action"][-2:], end["outcome"]) for end in door.entries("action.finished")]
        late = await door.gate.act(LineProposal(line="files write late.txt", body=b""), parent="")
        await slow
        entries = len(door.entries("action.intended"))

    assert finished == [("/1", "ok")]
    assert late.text == "error (closed): the session is at its end, and programs call no more commands"
    assert entries == 1
    assert not (place / "workspace" / "late.txt").exists()


async def test_no_program_is_started_in_the_background_of_a_session_that_has_ended(place: Path) -> None:
    async with open_door(place, POLICY) as door:
        await door.gate.close()
        seen = await door.tool("run", argv=["true"], background=True)

    assert seen.text == "error (busy): the session is at its end, and starts no more programs"
