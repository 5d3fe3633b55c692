"""What a search passes over is what git ignores."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox.guest.ignored import MAX_BYTES, MAX_LINE_BYTES, MAX_LINES, Ignored
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
    "f/2",
    "f-2",
    "f2",
    "fx",
    "deep/er/build",
    "a[1]",
    "star*",
    "end ",
    "sub/deep/er/z.txt",
    "c",
    ":",
    "x[]",
    "x:]",
    "x:",
    "\u00e9",
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
    "f[!1]2",
    "f[&&1||2~~]",
    "f[--9]*",
    "*[!a]*",
    "*e*",
    "*e*/*u*",
    "**/*e*/**/b*d",
    "doc/**/b/**/c",
    "doc/**/**/c",
    "d*/**",
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
    "\ufeff*.o",
    "f[[:digit:]]",
    "f[![:digit:]]",
    "f[[:none:]]",
    "f[1",
    "f[2-1]",
    "f[\\1]",
    "f[]1]",
    "f\\",
    "x y\\\\  ",
    "\\*",
    "sub//",
    "//a",
    "?",
    "[!a]",
    "**\t",
    "[/f]1",
    "[\\!/x[[:alpha:]]*?",
    "doc/***/c",
    "***/c",
    "doc/***",
    "doc/**/***/c",
    "**\\/c",
    "doc/**\\/c",
    "doc\\/**/c",
    "***\\/b\\/c",
    "[[:]",
    "x[[:]]",
    "x[[:]",
    "[[::]]",
    "**\n!a**/*",
    "**\n!doc/a**",
    "**\n!doc/a**/b",
    "**\n!do**/c",
    "**\n!do**/",
    "**\n!d**\\/c",
    "**\n!d***/c",
    "**\n!d**c/c",
    "**\n![d]**/c",
    "**\n!\\d**/c",
    "**\n!/d**/**/c",
    "do**/c",
    "/d**",
    "doc**/x",
    "a\0b",
    "a \0",
    "a\r\0b",
    "a\0\r",
    "\0a",
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


NAMES = [
    "a",
    "b",
    "ab",
    "a.o",
    "build",
    "x y",
    "A",
    "[a]",
    "a*",
    "\u00e9",
    "-",
    "!a",
    "#a",
    "a ",
    "\\a",
    "a]",
]
PIECES = [
    "a", "b", "*", "?", "**", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[a-]", "[[:alpha:]]", "[![:digit:]]",
    "\\a", "\\*", "\\!", "\u00e9", " ", "-", ".o", "[", "]", "build", "[[:bogus:]]", "[c-a]", "[\\]a]",
    "[a\\-c]", "\\\\", "[[:alpha:]-z]", "[a-c-e]", "[\\a-\\c]", "***", "[[:]", "\\/", "**\\/", "[[:]]",
]  # fmt: skip


def _pattern(choose: random.Random) -> str:
    def part() -> str:
        pieces = "".join(choose.choice(PIECES) for _ in range(choose.randint(1, 3)))
        return choose.choice(["**", "*", "***", choose.choice(NAMES), pieces])

    text = "/".join(part() for _ in range(choose.choice([1, 1, 1, 2, 2, 3])))
    before, behind = choose.choice(["", "", "", "/", "!", "!/"]), choose.choice(["", "", "", "/"])
    return before + text + behind + choose.choice([""] * 8 + [" ", "\\ ", "\t", "\r", "\\"])


def _tree(folder: Path, choose: random.Random) -> None:
    for _ in range(12):
        names = [choose.choice(NAMES) for _ in range(choose.choice([1, 1, 2, 2, 3, 4]))]
        with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            (folder / "/".join(names[:-1])).mkdir(parents=True, exist_ok=True)
            (folder / "/".join(names)).write_text("")
    inner = [path for path in sorted(folder.rglob("*")) if path.is_dir() and ".git" not in path.parts]
    for place in (folder, *(path for path in inner if choose.random() < 0.3)):
        rules = "".join(_pattern(choose) + "\n" for _ in range(choose.randint(1, 4)))
        (place / ".gitignore").write_bytes(rules.encode())


@pytest.mark.parametrize("count", [60, pytest.param(400, marks=pytest.mark.long)])
def test_what_is_left_out_of_generated_trees_is_what_git_leaves_out(tmp_path: Path, count: int) -> None:
    for seed in range(count):
        folder = tmp_path / str(seed)
        shutil.copytree(tmp_path / "0", folder) if seed else new_repository(folder)
        for entry in folder.iterdir():
            if entry.name != ".git":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        _tree(folder, random.Random(seed))  # noqa: S311 (a test's choices)

        mine = {name for name in ours(folder) if not name.endswith(".gitignore")}

        assert mine == gits(folder), seed


@pytest.mark.parametrize(
    "rule", ["*a" * 120 + "*b", "**\\/a/" * 20 + "b", "**/a/" * 20 + "b", "**/*/" * 20 + "b"]
)
def test_no_rule_takes_for_ever(tmp_path: Path, rule: str) -> None:
    """A hostile workspace has such a rule, and a name, or a path, that nearly fits."""
    (tmp_path / ".gitignore").write_text(f"{rule}\n{rule}c\n")
    look = (
        "import os, sys; from sandbox.guest.ignored import Ignored\n"
        "rules = Ignored(None, b'', os.open(sys.argv[1], os.O_RDONLY))\n"
        "paths = (b'a' * 255, b'a/' * 63 + b'a', b'a/' * 63 + b'b')\n"
        "print([rules.has(path, is_folder=False) for path in paths])"
    )

    looked = subprocess.run(
        [sys.executable, "-c", look, tmp_path], capture_output=True, text=True, timeout=60, check=True
    )

    assert looked.stdout.strip() == f"[False, False, {'/' in rule}]"


@pytest.mark.parametrize(
    ("above", "below", "left_out"),
    [
        ("", "x\ny\nyy\n", {"sub/x", "sub/y", "sub/yy"}),
        ("#\n" * (MAX_LINES - 2), "x\nyy\n", {"sub/x"}),
        ("#\n" * MAX_LINES, "x\n", set()),
        ("#" * (MAX_BYTES - 5) + "\n", "x\nyy\n", {"sub/x"}),
        ("#" * MAX_BYTES, "x\n", set()),
        ("*" * (MAX_LINE_BYTES - 1) + "y", "", {"sub/y", "sub/yy"}),
        ("*" * MAX_LINE_BYTES + "y\nx", "", {"x", "sub/x"}),
    ],
)
def test_a_walk_takes_so_many_rules_and_shows_what_more_would_leave_out(
    tmp_path: Path, above: str, below: str, left_out: set[str]
) -> None:
    """A hostile workspace has a file of slow rules in each of its folders; no rule is read by half."""
    (tmp_path / "sub").mkdir()
    for name in ("x", "sub/x", "sub/y", "sub/yy"):
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text(above)
    (tmp_path / "sub" / ".gitignore").write_text(below)

    assert ours(tmp_path) == left_out


def test_folders_without_an_ignore_file_take_nothing_of_what_a_walk_may_read(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        top = Ignored(None, b"", descriptor)
        for _ in range(MAX_LINES):
            Ignored(top, b"", descriptor)
        (tmp_path / ".gitignore").write_text("x\n")
        assert Ignored(top, b"", descriptor).has(b"x", is_folder=False)
    finally:
        os.close(descriptor)


async def test_a_search_passes_over_what_is_ignored_unless_all_is_asked_for(place: Path) -> None:
    work = place / "workspace"
    (work / "node_modules").mkdir()
    (work / "node_modules" / "x.js").write_text("found\n")
    (work / "app.js").write_text("found\n")
    (work / "app.o").write_text("found\n")
    (work / ".gitignore").write_text("node_modules/\n*.o\n")

    async with open_door(place) as door:
        some = await door.line("files search found")
        narrow = await door.line("files search found --name '*.js'")
        every = await door.line("files search found --all")
        named = await door.line("files search found node_modules/x.js")
        below = await door.line("files search found ./node_modules/")

    assert some.text == (
        "app.js:1: found\n"
        "note: 1 matches in 2 files; not searched: 2 ignored files or folders; `--all` searches them"
    )
    assert "not searched: 1 ignored files or folders;" in narrow.text, "the file has another name"
    assert "not searched" not in every.text
    assert every.text.startswith("app.js:1: found\napp.o:1: found\nnode_modules/x.js:1: found\n")
    assert named.text.startswith("node_modules/x.js:1: found\n")
    assert below.text.startswith("node_modules/x.js:1: found\n"), "a folder that is named is searched"


async def test_rules_of_the_folders_above_hold_in_a_folder_that_is_named(place: Path) -> None:
    """As git, which asks every `.gitignore` from the top of the workspace down."""
    work = place / "workspace"
    (work / "src" / "build").mkdir(parents=True)
    (work / "src" / "kept").mkdir()
    for name in ("a.log", "kept/a.log", "build/a.c", "b.c"):
        (work / "src" / name).write_text("found\n")
    (work / ".gitignore").write_text("*.log\n/src/build/\n")
    (work / "src" / "kept" / ".gitignore").write_text("!*.log\n")

    async with open_door(place) as door:
        listed = await door.line("files list src")
        inside = await door.line("files list ./src//kept/")
        found = await door.line("files search found src")

    assert listed.text.splitlines() == [
        "b.c  6", "kept/", "kept/.gitignore  7", "kept/a.log  6",
        "note: 2 ignored entries are left out; `--all` shows them",
    ]  # fmt: skip
    assert inside.text.splitlines() == [".gitignore  7", "a.log  6"]
    assert found.text.splitlines()[:2] == ["src/b.c:1: found", "src/kept/a.log:1: found"]
