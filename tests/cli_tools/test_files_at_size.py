"""The files commands in a workspace of 100,000 files and with a file of 1 GB: answers, in bounded memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli_tools.door import open_door

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1 << 30
LINES_BEFORE = 4 * 50_000


def peak_bytes() -> int:
    """Return the most memory that any process of a guest below this one has had at once (proc(5), VmHWM)."""
    facts = {int(status.parent.name): _facts(status) for status in Path("/proc").glob("[0-9]*/status")}
    return max(
        int(fact.get("VmHWM", "0").split()[0]) * 1024
        for process, fact in facts.items()
        if fact.get("Name") == "python3" and os.getpid() in _above(process, facts)
    )


def _facts(status: Path) -> dict[str, str]:
    try:
        return dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    except OSError:
        return {}  # it ended meanwhile


def _above(process: int, facts: dict[int, dict[str, str]]) -> Iterator[int]:
    """Yield the parents of a process, the nearest first."""
    while process := int(facts.get(process, {}).get("PPid", "0")):
        yield process


async def test_what_ignore_files_leave_out_is_counted_and_shown_when_asked_for(place: Path) -> None:
    folder = place / "workspace"
    for name in ("build/a.o", "src/b.py", "src/c.log", ".git/config", "kept.log"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (folder / ".gitignore").write_text("build/\n*.log\n!kept.log\n")

    async with open_door(place) as door:
        shown = await door.line("files list")
        whole = await door.line("files list --all --depth 3")
        inside = await door.line("files list build")

    assert shown.text.splitlines() == [
        ".git/", ".gitignore  23", "kept.log  1", "src/", "src/b.py  1",
        "note: 2 ignored entries are left out; `--all` shows them",
    ]  # fmt: skip
    assert {"build/", "build/a.o  1", "src/c.log  1", ".git/config  1"} <= set(whole.text.splitlines())
    assert inside.text == "a.o  1"


@pytest.mark.long
async def test_a_hundred_thousand_files_are_listed_in_pieces_and_searched_to_the_last(place: Path) -> None:
    for folder in range(100):
        (place / "workspace" / f"d{folder:02}").mkdir()
        for number in range(1000):
            (place / "workspace" / f"d{folder:02}" / f"f{number:03}").write_text("x\n")
    (place / "workspace" / "d99" / "f999").write_text("one\nneedle\n")

    async with open_door(place) as door:
        listed = await door.line("files list --depth 3")
        below = await door.line("files list d99")
        found = await door.line("files search needle")
        most = peak_bytes()

    assert "cut after 2000 entries" in listed.text
    assert len(below.text.splitlines()) == 1000
    assert found.text.splitlines()[0] == "d99/f999:2: needle"
    assert 1 << 20 < most < 96 << 20


@pytest.mark.long
async def test_a_file_of_a_gigabyte_is_read_searched_and_changed_in_bounded_memory(place: Path) -> None:
    """Half of it is one line, half are many; a diff fits at the line that it names, or nowhere.

    A search that runs out of its time has told what it found until then, and that it stopped.
    """
    path = place / "workspace" / "large"
    with path.open("wb") as stream:
        block = b"some text of a line\n" * 50_000
        stream.writelines([block] * (LINES_BEFORE // 50_000))
        stream.write(b"needle\n")
        while stream.tell() < GIB // 2:
            stream.write(block)
        while stream.tell() < GIB:
            stream.write(b"y" * (1 << 20))

    size = path.stat().st_size
    async with open_door(place) as door:
        answers = [await door.line(line) for line in _LINES]
        most = peak_bytes()

    stated, read, searched, many, diff, twin, patched, after, changed = answers
    assert stated.text.splitlines()[1] == f"bytes: {size}"
    assert read.text.splitlines()[0] == "    10  some text of a line"
    assert searched.text.splitlines()[0] == f"large:{LINES_BEFORE + 1}: needle"
    assert many.text.startswith("error (many-matches): the text to replace is there")
    assert diff.text == (
        "error (no-match): hunk 1 does not fit at line 2; in so long a file it has to fit there"
    )
    assert twin.text == "applied 2 hunks to large"
    assert patched.text.startswith("replaced 1 in large, at line ")
    assert after.text.splitlines()[1] == f"bytes: {size - 2}"
    assert changed.text.splitlines()[0] == f"large:{LINES_BEFORE + 1}: pins"
    assert 1 << 20 < most < 300 << 20


_TWO_HUNKS = (
    "@@ -1 +1 @@\n-some text of a line\n+more text of a line\n"
    f"@@ -{LINES_BEFORE + 1} +{LINES_BEFORE + 1} @@\n-needle\n+needles\n"
)
_LINES = (
    "files stat large",
    "files read large --lines 10-11",
    "files search --literal needle large",
    "files patch large --old 'some text' --new x",
    "files patch large --diff '@@ -2 +2 @@\n-other text of a line\n+x'",
    f"files patch large --diff '{_TWO_HUNKS}'",
    "files patch large --old needle --new pin",
    "files stat large",
    "files search --literal pin large",
)
