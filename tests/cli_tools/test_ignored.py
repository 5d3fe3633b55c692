"""What a search passes over is what git ignores."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.guest.ignored import Ignored
from tests.cli_tools.door import open_door
from tests.cli_tools.repositories import ENVIRONMENT, GIT, new_repository

if TYPE_CHECKING:
    from pathlib import Path

FILES = [
    "a",
    "a.o",
    "b.txt",
    "#x",
    "!x",
    "build/x",
    "sub/a",
    "sub/a.o",
    "sub/build/x",
    "sub/keep.o",
    "x y",
    "doc/a/b/c",
    "doc/c",
    "f1",
    "f2",
    "fx",
    "deep/er/build",
    "a[1]",
    "star*",
    "end ",
    "sub/deep/er/z.txt",
]
RULES = [
    "*.o",
    "*.o\n!keep.o",
    "build",
    "build/",
    "/a",
    "sub/a",
    "sub/*",
    "**/a",
    "doc/**",
    "doc/**/c",
    "**/build/x",
    "f[12]",
    "f[!12]",
    "f?",
    "\\#x",
    "\\!x",
    "# comment",
    "",
    "/",
    "*",
    "*\n!*/\n!*.txt",
    "a[[]1]",
    "star\\*",
    "x y  ",
    "end\\ ",
    "deep/",
    "/deep/er",
    "er",
    "[",
    "a**",
    "***",
    "sub/**/z.txt",
    "!a",
    "a\n!a\na",
    "*.o\r",
]


def ours(folder: Path) -> set[str]:
    """Walk as the search does, and return what is passed over."""
    found: set[str] = set()

    def walk(path: Path, prefix: bytes, above: Ignored | None) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        ignored = Ignored(above, prefix, descriptor)
        os.close(descriptor)
        for entry in path.iterdir():
            name = prefix + os.fsencode(entry.name)
            if entry.name in (".git", ".gitignore"):
                continue
            if ignored.has(name, is_folder=entry.is_dir()):
                inner = [entry] if entry.is_file() else [one for one in entry.rglob("*") if one.is_file()]
                found.update(str(one.relative_to(folder)) for one in inner)
            elif entry.is_dir():
                walk(entry, name + b"/", ignored)

    walk(folder, b"", None)
    return found


def gits(folder: Path) -> set[str]:
    done = subprocess.run(
        [GIT, "ls-files", "-z", "--others", "--ignored", "--exclude-standard"],
        cwd=folder, env=ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    return {name for name in done.stdout.decode().split("\0") if name and not name.endswith(".gitignore")}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("place", ["", "sub"])
def test_what_is_left_out_is_what_git_leaves_out(tmp_path: Path, rules: str, place: str) -> None:
    folder = new_repository(tmp_path / "work")
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_dir():
            (folder / name).write_text("x\n")
    (folder / place / ".gitignore").write_bytes(rules.encode() + b"\n")

    assert ours(folder) == gits(folder)


async def test_a_search_passes_over_what_is_ignored_unless_all_is_asked_for(place: Path) -> None:
    work = place / "workspace"
    (work / "node_modules").mkdir()
    (work / "node_modules" / "x.js").write_text("found\n")
    (work / "app.js").write_text("found\n")
    (work / ".gitignore").write_text("node_modules/\n")

    async with open_door(place) as door:
        some = await door.line("files search found")
        every = await door.line("files search found --all")
        named = await door.line("files search found node_modules/x.js")

    assert some.text == "app.js:1: found\nnote: 1 matches in 2 files"
    assert every.text.startswith("app.js:1: found\nnode_modules/x.js:1: found\n")
    assert named.text.startswith("node_modules/x.js:1: found\n")
