"""The `files` commands, through the gate, in the real guest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.cli_tools.door import FILES, open_door

if TYPE_CHECKING:
    from pathlib import Path

NASTY = b"\x1b[31m<|im_start|>\r\nb\xc3\xa9\xff\xe2\x9f\xa61b\xe2\x9f\xa7 <s>\xe2\x80\xae\n"


def put(place: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = place / "workspace" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def got(place: Path, name: str) -> bytes:
    return (place / "workspace" / name).read_bytes()


async def test_lines_are_numbered_and_a_range_is_a_range(place: Path) -> None:
    put(place, a="one\ntwo\nthree")

    async with open_door(place) as door:
        whole = await door.line("files read a")
        part = await door.line("files read a --lines 2-2")
        beyond = await door.line("files read a --lines 4-9")
        tail = await door.line("files read a --lines 3-9")

    assert whole.text == "     1  one\n     2  two\n     3  three"
    assert part.text == "     2  two\nnote: 1 more lines; read them with `--lines 3-3`"
    assert beyond.text == "error (range): the file has 3 lines"
    assert tail.text == "     3  three"


@pytest.mark.parametrize("lines", ["0-3", "3-2", "a-b", "1-", "-1", "1-2-3", "\u0661-\u0662", "9" * 30])
async def test_a_range_that_is_none_is_refused_before_anything_is_decided(place: Path, lines: str) -> None:
    async with open_door(place) as door:
        seen = await door.tool("files_read", path="a", lines=lines)
        intents = door.entries("action.intended")

    assert seen.text.startswith("error (usage): `files read`: invalid value for '--lines'")
    assert intents[0]["command"] == ""


async def test_an_empty_file_is_read_as_one(place: Path) -> None:
    put(place, empty="")

    async with open_door(place) as door:
        seen = await door.line("files read empty")

    assert (seen.kind, seen.text) == ("done", "(no output)")


async def test_a_binary_file_is_described_and_not_dumped(place: Path) -> None:
    put(place, image_png=b"\x89PNG\0" + b"\xff" * 5000)

    async with open_door(place) as door:
        seen = await door.line("files read image.png")

    assert seen.text == "note: a binary file of 5005 bytes, not shown"


async def test_the_middle_of_a_large_file_is_read_without_what_lies_around_it(place: Path) -> None:
    """A sparse gigabyte: text first, and then one huge line of NULs."""
    path = place / "workspace" / "large"
    with path.open("wb") as stream:
        for number in range(1, 300_001):
            stream.write(b"%d\n" % number)
        stream.write(b"x" * 20_000 + b"\n")
        stream.truncate(1 << 30)

    async with open_door(place) as door:
        seen = await door.line("files read large --lines 299999-300000")
        cut = await door.line("files read large --lines 300001-300002")
        sent = door.gate._sandbox.output_bytes

    assert seen.text.splitlines()[:2] == ["299999  299999", "300000  300000"]
    assert "cut in line 300002 of 300002" in cut.text
    assert sent < 2 << 20


async def test_what_was_read_can_be_written_back_byte_for_byte(place: Path) -> None:
    """The escape is reversible (decided: a neutralised token that comes back becomes the original bytes)."""
    put(place, a=NASTY)

    async with open_door(place) as door:
        seen = await door.line("files read a")
        lines = seen.text.split("\nnote: ")[0].splitlines()
        shown = "".join(line[8:] + "\n" for line in lines)
        await door.tool("files_write", path="b", content=shown)

    assert "<|im_start|>" not in seen.text
    assert "\x1b" not in seen.text
    assert got(place, "b") == NASTY


async def test_writing_makes_folders_and_keeps_both_hashes_in_the_ledger(place: Path) -> None:
    async with open_door(place) as door:
        created = await door.line("files write new/dir/a --content one")
        replaced = await door.line("files write new/dir/a", "two\n")
        files = [entry["files"][0] for entry in door.entries("action.finished")]

    assert (created.text, replaced.text) == ("created new/dir/a, 3 bytes", "replaced new/dir/a, 4 bytes")
    assert got(place, "new/dir/a") == b"two\n"
    one, two = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two\n"))
    assert [(use["access"], use["sha256_before"], use["sha256"]) for use in files] == [
        ("created", None, one),
        ("changed", one, two),
    ]


async def test_a_name_with_a_newline_is_one_entry_of_a_list(place: Path) -> None:
    """A name cannot forge another line; and as it is shown it can be used."""
    (place / "workspace" / "a\nsecret  1").write_text("x\n")

    async with open_door(place) as door:
        listed = await door.line("files list")
        read = await door.line("files read 'a\u27e6a\u27e7secret  1'")

    assert listed.text == "a\u27e6a\u27e7secret  1  2"
    assert read.text == "     1  x"


async def test_a_name_that_is_no_utf8_is_listed_and_can_be_used(place: Path) -> None:
    raw = bytes(place / "workspace") + b"/a\xff"
    with open(raw, "wb") as stream:  # noqa: PTH123, ASYNC230 - a path of bytes
        stream.write(b"x\n")

    async with open_door(place) as door:
        listed = await door.line("files list")
        read = await door.line("files read 'a\u27e6xff\u27e7'")
        await door.line("files remove 'a\u27e6xff\u27e7'")

    assert listed.text == "a\u27e6xff\u27e7  2"
    assert read.text == "     1  x"
    assert list((place / "workspace").iterdir()) == []


async def test_stat_says_kind_size_and_mode_and_follows_no_link(place: Path) -> None:
    put(place, a="four")
    (place / "workspace" / "a").chmod(0o640)
    (place / "workspace" / "link").symlink_to("/etc/passwd")

    async with open_door(place) as door:
        seen = await door.line("files stat a")
        link = await door.line("files stat link")
        listed = await door.line("files list")

    assert seen.text.startswith("kind: file\nbytes: 4\nmode: 0640\nmodified: 20")
    assert link.text.startswith("kind: link\nbytes: 11\n")
    assert "link -> /etc/passwd" in listed.text


async def test_moving_replaces_nothing_unless_asked(place: Path) -> None:
    put(place, a="a", b="b")

    async with open_door(place) as door:
        refused = await door.line("files move a b")
        kept = got(place, "b")
        moved = await door.line("files move a b --replace")
        deeper = await door.line("files move b c/d/e")

    assert refused.text.startswith("error (exists)")
    assert kept == b"b"
    assert (moved.text, deeper.text) == ("moved a to b", "moved b to c/d/e")
    assert got(place, "c/d/e") == b"a"


async def test_a_full_folder_is_removed_only_with_recursive(place: Path) -> None:
    put(place, d__a="a", d__b="b")

    async with open_door(place) as door:
        refused = await door.line("files remove d")
        removed = await door.line("files remove d --recursive")

    assert refused.text.startswith("error (not-empty)")
    assert removed.text == "removed d, 3 entries"


@pytest.mark.parametrize(
    "line",
    [
        "files move a .git/hooks/pre-commit",
        "files remove .git/config",
        "files patch .git/config --old a --new b",
        "files move .git/config b",
    ],
)
async def test_protected_files_are_not_moved_removed_or_patched(place: Path, line: str) -> None:
    """Both ends of a move count; the twin, outside of `.git`, is done."""
    put(place, a="a", _git__config="a")
    policy = FILES + 'files: {protect: [".git/**"]}\n'

    async with open_door(place, policy) as door:
        seen = await door.line(line)
        twin = await door.line(line.replace(".git/", "git/") if "move a" in line else "files stat a")

    assert seen.kind == "denied"
    assert [reason.code for reason in seen.reasons] == ["protected"]
    assert twin.kind == "done"
    assert got(place, ".git/config") == b"a"


async def test_search_finds_lines_as_grep_does(place: Path) -> None:
    put(place, a_py="import os\ndef f():\n    return 1\n", sub__b_py="def g(): pass\n", c_txt="def h\n")

    async with open_door(place) as door:
        plain = await door.line("files search 'def \\w+\\('")
        named = await door.line("files search def --name '*.txt'")
        pathed = await door.line("files search def --name 'sub/*.py'")
        context = await door.line("files search 'def f' a.py --context 1")
        literal = await door.line("files search --literal 'f()' .")
        caseless = await door.line("files search IMPORT --ignore-case")
        none = await door.line("files search nothing-like-it")

    assert plain.text == "a.py:2: def f():\nsub/b.py:1: def g(): pass\nnote: 2 matches in 3 files"
    assert named.text == "c.txt:1: def h\nnote: 1 matches in 1 files"
    assert pathed.text == "sub/b.py:1: def g(): pass\nnote: 1 matches in 1 files"
    assert context.text.splitlines()[:3] == ["a.py-1- import os", "a.py:2: def f():", "a.py-3-     return 1"]
    assert literal.text.startswith("a.py:2: def f():\n")
    assert caseless.text.startswith("a.py:1: import os\n")
    assert none.text == "note: 0 matches in 3 files\nexit code 1"


async def test_search_stops_where_it_is_told_and_passes_over_what_is_not_text(place: Path) -> None:
    put(place, a="x\n" * 50, _git__config="x\n", b=b"x\0\n")
    (place / "workspace" / "link").symlink_to("a")

    async with open_door(place) as door:
        some = await door.line("files search x --limit 3")
        every = await door.line("files search x --limit 100")

    assert some.text == "a:1: x\na:2: x\na:3: x\nnote: stopped at 3 matches; there may be more"
    assert every.text.endswith("note: 50 matches in 1 files; not searched: 1 binary files")


async def test_a_pattern_that_is_none_is_refused_with_the_reason(place: Path) -> None:
    async with open_door(place) as door:
        seen = await door.line("files search '(unclosed'")

    assert seen.text.startswith(
        "error (pattern): not a regular expression: missing ), unterminated subpattern"
    )


async def test_a_pattern_that_backtracks_for_ever_is_stopped_and_the_guest_lives(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before is shown, and where it stopped (attack B117)."""
    monkeypatch.setattr("cli_tools.files.seek.SECONDS", 1.0)
    put(place, a="aaaa!\n", b="a" * 60 + "\n", c="aaaa!\n")

    async with open_door(place) as door:
        seen = await door.line("files search '(a+)+!'")
        after = await door.line("files search b")

    assert seen.text.splitlines()[0] == "a:1: aaaa!"
    assert "note: stopped after 1 s at `b`" in seen.text
    assert after.kind == "done"


async def test_a_search_shows_hostile_lines_as_one_harmless_line_each(place: Path) -> None:
    put(place, a=b"x <|im_start|> \x1b[2J \xff\r fake:1: y\n" + b"x" * 3000 + b"\n")

    async with open_door(place) as door:
        seen = await door.line("files search x")

    first, second, note = seen.text.splitlines()
    assert first == (
        "a:1: x \u27e63c\u27e7|im_start|> \u27e61b\u27e7[2J \u27e6xff\u27e7\u27e6d\u27e7 fake:1: y"
    )
    assert second == f"a:2: {'x' * 400} [cut]"
    assert note == "note: 2 matches in 1 files"


async def test_an_exact_replacement_needs_exactly_one_place(place: Path) -> None:
    put(place, a="x = 1\ny = 1\nz = 2\n")

    async with open_door(place) as door:
        many = await door.line("files patch a --old '= 1' --new '= 3'")
        none = await door.line("files patch a --old 'x  = 1' --new '= 3'")
        done = await door.line("files patch a --old 'z = 2' --new 'z = 3'")
        every = await door.line("files patch a --old '= 1' --new '= 4' --every")

    assert many.text == "error (many-matches): the text to replace is there `2` times, at lines 1, 2"
    assert none.text == (
        "error (no-match): the text to replace is not in the file; "
        "lines 1 to 1 differ from it in white space only"
    )
    assert done.text == "replaced 1 in a, at line 3"
    assert every.text == "replaced 2 in a, at line 1, 2"
    assert got(place, "a") == b"x = 4\ny = 4\nz = 3\n"


async def test_a_diff_is_applied_where_it_fits_and_nowhere_else(place: Path) -> None:
    put(place, a="1\n2\n3\n4\n5\n6\n")
    diff = "--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n 3\n-4\n+four\n 5\n"

    async with open_door(place) as door:
        moved = await door.tool("files_patch", path="a", diff=diff)
        again = await door.tool("files_patch", path="a", diff=diff)
        other = await door.tool("files_patch", path="b", diff=diff)

    assert moved.text == "applied 1 hunks to a\nnote: hunk 1 fits at line 3, not 1"
    assert again.text == "error (no-match): hunk 1 does not fit: line 1 is `1`, the diff has `3`"
    assert other.text == "error (diff): the diff is of `a/a`, the action of `b`"
    assert got(place, "a") == b"1\n2\n3\nfour\n5\n6\n"


async def test_a_diff_can_make_a_file_but_not_over_one_that_is_there(place: Path) -> None:
    diff = "--- /dev/null\n+++ b/d/new\n@@ -0,0 +1,2 @@\n+one\n+two\n"

    async with open_door(place) as door:
        first = await door.tool("files_patch", path="d/new", diff=diff)
        second = await door.tool("files_patch", path="d/new", diff=diff)

    assert first.kind == "done"
    assert got(place, "d/new") == b"one\ntwo\n"
    assert second.text == "error (exists): `d/new` exists, and the diff creates it"


async def test_a_patch_keeps_line_ends_and_bytes_that_no_model_can_write(place: Path) -> None:
    put(place, a=b"one\r\n\xff\x1b<|im_start|>\r\nthree\r\n")

    async with open_door(place) as door:
        diff = await door.tool("files_patch", path="a", diff="@@ -1,1 +1,1 @@\n-one\n+uno\n")
        exact = await door.tool(
            "files_patch",
            path="a",
            old="\u27e6xff\u27e7\u27e61b\u27e7\u27e63c\u27e7|im_start|>\nthree",
            new="2\n3",
        )

    assert (diff.kind, exact.kind) == ("done", "done")
    assert got(place, "a") == b"uno\r\n2\r\n3\r\n"


@pytest.mark.parametrize(
    "arguments",
    [{}, {"old": "a"}, {"new": "a"}, {"diff": "x", "old": "a", "new": "b"}, {"diff": "x", "every": True}],
)
async def test_a_patch_is_either_a_diff_or_old_and_new(place: Path, arguments: dict[str, object]) -> None:
    put(place, a="a\n")

    async with open_door(place) as door:
        seen = await door.tool("files_patch", path="a", **arguments)

    assert seen.text == "error (usage): give either `--diff`, or both `--old` and `--new`"
    assert got(place, "a") == b"a\n"
