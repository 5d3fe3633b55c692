"""What a stub does where its standard input or output fails, or does not block: nothing is lost unsaid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli_tools.test_stubs import calling, script

if TYPE_CHECKING:
    from pathlib import Path

SLOW_PIPE = """
import fcntl, os, subprocess, time
end, begin = os.pipe()
fcntl.fcntl(begin, fcntl.F_SETFL, os.O_NONBLOCK)
called = subprocess.Popen(["files", "read", "big.txt", "--lines", "1-2000"], stdout=begin)
os.close(begin)
time.sleep(1)
count = 0
while piece := os.read(end, 1024 * 1024):
    count += piece.count(b"x")
print(count, called.wait())
"""
SLOW_INPUT = """
import fcntl, os, subprocess
end, begin = os.pipe()
fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
called = subprocess.Popen(["files", "write", "slow.txt"], stdin=end)
for _ in range(50):
    os.write(begin, b"x" * 10_000)
os.close(begin)
print(called.wait())
"""


async def test_an_output_that_cannot_be_written_is_told_and_one_that_can_is_whole(place: Path) -> None:
    """A full disk must not look like a command that was done."""
    (place / "workspace" / "a.txt").write_text("one\n")
    async with calling(place) as door:
        seen = await script(
            door,
            "files read a.txt > /dev/full; echo code $?; files read a.txt >&-; echo code $?\n"
            "files read nothing > /dev/full; echo code $?; files read a.txt > out; echo code $?\n"
            "files read a.txt 2> /dev/full; echo code $?; printf x | files write b.txt >&-; echo code $?\n"
            "files read a.txt | true; (trap '' PIPE; files read a.txt | true); cat out",
        )

    lines = seen.text.splitlines()
    assert [line for line in lines if line.startswith("code")] == [
        f"code {code}" for code in (101, 101, 101, 0, 0, 101)
    ]
    assert lines.count("pairlock: what the command said cannot be written") >= 3


async def test_an_output_that_does_not_block_is_waited_for(place: Path) -> None:
    (place / "workspace" / "big.txt").write_text(f"{'x' * 100}\n" * 4000)
    async with calling(place) as door:
        seen = await door.line("python", SLOW_PIPE)

    assert seen.text.splitlines()[0] == "200000 0"


async def test_an_input_that_cannot_be_read_is_no_empty_one_and_nothing_is_done(place: Path) -> None:
    """The twin is one that has to be waited for."""
    async with calling(place) as door:
        seen = await script(door, "files write refused.txt < bin; echo code $?")
        slow = await door.line("python", SLOW_INPUT)
        intended = [entry["command"] for entry in door.entries("action.intended")]

    assert seen.text.splitlines() == ["code 101", "stderr:", "pairlock: standard input cannot be read"]
    assert slow.text.splitlines()[-1] == "0"
    assert (place / "workspace" / "slow.txt").read_text() == "x" * 500_000
    assert intended == ["shell", "python", "files write"]
