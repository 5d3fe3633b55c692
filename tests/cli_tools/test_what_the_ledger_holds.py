"""What an action read, changed or started stands in the ledger for what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli_tools.door import BOTH, FILES, open_door

if TYPE_CHECKING:
    from pathlib import Path


async def test_every_file_stands_in_the_ledger_with_what_was_done_to_it(place: Path) -> None:
    async with open_door(place, FILES) as door:
        for line in (
            "files write a.txt --content one",
            "files write a.txt --content two",
            "files read a.txt",
            "files list .",
            "files stat a.txt",
            "files search two .",
            "files move a.txt b.txt",
            "files remove b.txt",
        ):
            assert (await door.line(line)).kind == "done"
        uses = [
            [(use["access"], use["path"], use["moved_to"]) for use in outcome["files"]]
            for outcome in door.entries("action.finished")
        ]

    assert uses == [
        [("created", "a.txt", None)],
        [("changed", "a.txt", None)],
        [("read", "a.txt", None)],
        [("listed", ".", None)],
        [("listed", "a.txt", None)],
        [("searched", ".", None), ("read", "a.txt", None)],
        [("moved", "a.txt", "b.txt")],
        [("removed", "b.txt", None)],
    ]


async def test_every_program_stands_in_the_ledger_with_its_whole_command_line(place: Path) -> None:
    long = "x" * 5000
    async with open_door(place, BOTH) as door:
        await door.line(f"run echo {long}")
        await door.line("files list .")
    started = door.entries("process.started")

    assert [(one["argv"], one["folder"]) for one in started] == [(["echo", long], ".")]
    assert started[0]["action"] == door.entries("action.intended")[0]["action"]


async def test_a_denied_program_was_not_started(place: Path) -> None:
    async with open_door(place, FILES) as door:
        await door.line("run echo x")

    assert door.entries("process.started") == []


async def test_every_bound_that_an_action_reached_stands_in_the_ledger(place: Path) -> None:
    """A time-out, output that was cut and a command's last call are entries of their own."""
    policy = BOTH.replace("]}\n", "], rules: [{command: files stat, max_calls: 1}]}\n")
    async with open_door(place, policy) as door:
        await door.line("run --timeout 1 sleep 30")
        await door.line("run head -c 20000000 /dev/zero")
        await door.line("files stat .")
        within = len(door.entries("limit.hit"))
        await door.line("files stat .")
    hits = door.entries("limit.hit")
    numbers = [one["action"] for one in door.entries("action.intended")]
    outcomes = {one["action"]: one for one in door.entries("action.finished")}

    assert within == 2
    assert [(hit["limit"], hit["unit"], hit["action"]) for hit in hits] == [
        ("action.time", "ms", numbers[0]),
        ("action.output", "bytes", numbers[1]),
        ("calls of files stat", "calls", numbers[3]),
    ]
    assert hits[0]["bound"] == 1000
    assert hits[0]["observed"] >= 1000
    assert hits[1]["bound"] == outcomes[numbers[1]]["output_bytes"]
    assert hits[1]["observed"] == 20_000_000
    assert (hits[2]["bound"], hits[2]["observed"]) == (1, 1)
