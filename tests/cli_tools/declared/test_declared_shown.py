"""What is shown of a program's output is bounded, and found beside the loop that the session's beats need."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_tools.action import Catalogue
from cli_tools.declared import declare, declared_commands
from cli_tools.declared.document import DeclaredOutput
from cli_tools.declared.shown import MOST_LINES, Filter, Shown
from policies.errors import PolicyFileError
from tests.cli_tools.door import open_door

if TYPE_CHECKING:
    from pathlib import Path

DECLARED = """version: 1
commands:
  - name: lines some
    summary: Print lines.
    program: python3
    needs: [exec]
    sinks: {}
    argv: [-c, "print('a')"]
    output: {keep: [PATTERNS]}
    examples: [{line: lines some, runs: false}]
"""


@given(st.binary(max_size=60) | st.text("ab\r\n", max_size=60).map(str.encode))
def test_lines_end_where_bytes_say_they_do(output: bytes) -> None:
    everything = Filter(DeclaredOutput(first_lines=1_000_000))
    one = Filter(DeclaredOutput(first_lines=1))

    assert everything.shown(output) == Shown(output=output, note="")
    assert one.shown(output).output == b"".join(output.splitlines(keepends=True)[:1])


@pytest.mark.parametrize(
    ("declared", "shown", "part"),
    [
        (DeclaredOutput(keep=("^[xyz]",)), b"x\n", "first"),
        (DeclaredOutput(keep=("^[xyz]",), last_lines=9), b"y\nz\n", "last"),
    ],
)
def test_of_more_lines_than_are_looked_at_the_rest_is_left_out_and_told(
    declared: DeclaredOutput, shown: bytes, part: str
) -> None:
    output = b"x\n" + b"\n" * (MOST_LINES - 1) + b"y\nz\n"

    found = Filter(declared).shown(output)

    assert found.output == shown
    assert found.note.startswith(f"only the {part} 100000 lines are looked at; ")
    assert Filter(DeclaredOutput()).shown(output) == Shown(output=output, note="")


def test_a_file_with_more_than_sixteen_patterns_is_refused() -> None:
    def read(count: int) -> int:
        text = DECLARED.replace("PATTERNS", ", ".join("a" * count))
        return len(declared_commands(text, origin="x"))

    with pytest.raises(PolicyFileError) as caught:
        read(17)

    assert caught.value.problems[0].message.endswith("17 patterns; expected at most 16")
    assert read(16) == 1


async def test_lines_are_matched_in_a_thread_of_their_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner's loop beats for the session; a pattern that reads megabytes must not stop it."""
    threads: list[int] = []

    class Watched(Filter):
        def shown(self, output: bytes) -> Shown:
            threads.append(threading.get_ident())
            return super().shown(output)

    monkeypatch.setattr(declare, "Filter", Watched)
    (pair,) = declared_commands(DECLARED.replace("PATTERNS", "a"), origin="x")
    policy = "version: 1\nname: x\ngrant: [exec]\ncommands: {allow: [lines some]}\n"
    async with open_door(place, policy, catalogue=Catalogue([pair[1]])) as door:
        seen = await door.line("lines some")

    assert seen.text == "a"
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
