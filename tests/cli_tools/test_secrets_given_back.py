"""What stands for a secret becomes the secret again in a file that holds it, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli_tools.catalogue import built_in
from cli_tools.files.look import READ_LIMIT_BYTES
from cli_tools.files.seek import SHOWN_CHARACTERS
from cli_tools.placeholders import CONTENT, LARGEST_BYTES
from tests.cli_tools.door import BOTH, FILES, open_door

if TYPE_CHECKING:
    from pathlib import Path

FETCHING = """\
version: 1
name: x
grant: [files, network]
network: {allow: [{host: 127.0.0.1, ports: [80], private: true}]}
commands: {allow: [files *, http download]}
"""


async def test_a_file_written_with_what_stands_for_its_secret_keeps_the_secret(place: Path) -> None:
    """B103: a file that was read, changed and written whole would have lost it."""
    known = "ghp-0123456789abcdef"
    file = place / "workspace" / "a"
    file.write_text(f"token {known}\nplain\n")

    async with open_door(place, BOTH, secrets={"github": known}) as door:
        shown = (await door.line("files read a")).text.splitlines()
        mark = next(line for line in shown if "[secret:" in line).partition("token ")[2]
        whole = await door.line("files write a", body=f"token {mark}\nchanged\n".encode())
        after_whole = file.read_text()
        diff = f"@@ -1,2 +1,3 @@\n-token {mark}\n+token {mark} {mark}\n changed\n+more\n"
        patched = await door.line("files patch a", body=diff.encode())
        worded = await door.line(f"files patch a --old '{mark}\nchanged' --new '{mark}\nwords'")
        ledger = b"".join(path.read_bytes() for path in (place / "state").rglob("*") if path.is_file())

    assert [whole.kind, patched.kind, worded.kind] == ["done", "done", "done"]
    assert after_whole == f"token {known}\nchanged\n"
    assert file.read_text() == f"token {known} {known}\nwords\nmore\n"
    assert known.encode() not in ledger


async def test_what_stands_for_a_secret_puts_it_into_no_file_that_does_not_hold_it(place: Path) -> None:
    known = "ghp-0123456789abc/ef"
    workspace = place / "workspace"
    (workspace / "a").write_text(f"token {known}\n")
    (workspace / "b").write_text("plain\n")
    (workspace / "twice").write_text(f"{known}\n{known.encode().hex()}\n")

    async with open_door(place, BOTH, secrets={"github": known}) as door:
        mark = (await door.line("files read a")).text.partition("token ")[2].strip()
        seen = [
            await door.line("files write b", body=f"token {mark}\n".encode()),
            await door.line("files write new", body=mark.encode()),
            await door.line(f"files patch b --old plain --new '{mark}'"),
            await door.line("files write b", body=mark.replace("[", "⟦5b⟧").encode()),
            await door.line("files write twice", body=f"{mark}\n".encode()),
        ]
        other = await door.line("files write c", body=b"[secret:github:0123456789abcdef]\n")

    for one in seen:
        assert one.kind == "error"
        assert "only stands for a secret" in one.text
        assert known not in one.text
    assert other.kind == "done"
    assert (workspace / "b").read_text() == "plain\n"
    assert not (workspace / "new").exists()
    assert (workspace / "twice").read_text() == f"{known}\n{known.encode().hex()}\n"


@pytest.mark.parametrize(
    "line",
    [
        "http download http://127.0.0.1:80/?q=MARK a",
        "http download http://127.0.0.1:80/ MARK",
        "http download http://127.0.0.1:80/ a --header 'accept: MARK'",
        "files write MARK --content x",
        "files patch MARK --old x --new y",
        "files move a MARK",
        "files remove MARK",
    ],
)
async def test_no_argument_but_a_files_content_gets_a_secret(place: Path, line: str) -> None:
    """What was decided, written down and shown to a person has no secret in it: a URL would carry it away."""
    known = "ghp-0123456789abcdef"
    workspace = place / "workspace"
    (workspace / "a").write_text(f"token {known}\n")

    async with open_door(place, FETCHING, secrets={"github": known}) as door:
        mark = (await door.line("files read a")).text.partition("token ")[2].strip()
        (workspace / mark).write_text(f"token {known}\nx\n")
        seen = await door.line(line.replace("MARK", mark))
        twin = await door.line(line.replace("MARK", "other"))

    assert seen.kind == "error"
    assert f"`{mark}` only stands for a secret, and is no part of a file's content" in seen.text
    assert "stands for a secret" not in twin.text
    assert known not in seen.text
    assert {path.name for path in workspace.iterdir()} - {"other"} <= {"a", mark}
    assert (workspace / mark).read_text() == f"token {known}\nx\n"


async def test_what_a_cut_leaves_of_a_secret_is_told_nowhere(place: Path) -> None:
    """Who writes a file decides where in it the secret stands, and so what a cut would leave of it."""
    known = "ghp-0123456789abcdefghijklmnop"
    (place / "workspace" / "a").write_text(f"token {known}\nplain\n")

    async with open_door(place, FILES, secrets={"github": known}) as door:
        mark = (await door.line("files read a")).text.split()[2]
        seen = []
        for room in (200, SHOWN_CHARACTERS, READ_LIMIT_BYTES):
            for left in (6, len(known) - 1):
                pad = "x" * (room - left)
                await door.line("files write a", body=f"{pad}{mark}\nplain\n".encode())
                seen += [
                    await door.line("files patch a", body=f"@@ -2 +2 @@\n-z{pad[1:]}{mark}\n+y\n".encode()),
                    await door.line("files patch a", body=f"@@ -2 +2 @@\n{pad}{mark}\n+y\n".encode()),
                    await door.line("files patch a", body=b"@@ -1 +1 @@\n-zz\n+y\n"),
                    await door.line("files search xx"),
                    await door.line("files read a"),
                ]
        ledger = b"".join(path.read_bytes() for path in (place / "state").rglob("*") if path.is_file())

    assert [one.text for one in seen if known[:6] in one.text] == []
    assert known[:6].encode() not in ledger
    assert any(mark in one.text for one in seen)


async def test_what_stands_beside_a_placeholder_makes_no_escape_of_the_secret(place: Path) -> None:
    known = "0abc12"
    file = place / "workspace" / "a"
    file.write_text(f"token {known}\n")

    async with open_door(place, FILES, secrets={"pin": known}) as door:
        mark = (await door.line("files read a")).text.split()[2]
        written = await door.line("files write a", body=f"⟦{mark}⟧\n".encode())
        read = await door.line("files read a")

    assert written.kind == "done"
    assert file.read_text() == f"⟦{known}⟧\n"
    assert mark in read.text


async def test_a_file_too_large_to_be_looked_through_is_named_so(place: Path) -> None:
    known = "ghp-0123456789abcdef"
    file = place / "workspace" / "a"
    file.write_bytes(f"token {known}\n".encode() + b"x" * LARGEST_BYTES)

    async with open_door(place, FILES, secrets={"github": known}) as door:
        mark = (await door.line("files read a --lines 1-1")).text.split()[2]
        refused = await door.line(f"files patch a --old 'token {mark}' --new 'tok {mark}'")
        around = await door.line("files patch a --old 'token ' --new 'tok '")

    assert "cannot be looked through" in refused.text
    assert "hint: change what is around it" in refused.text
    assert around.kind == "done"


async def test_what_is_content_is_named_as_the_commands_name_it(place: Path) -> None:
    commands = {one.name: one for one in built_in().commands}
    for name, arguments in CONTENT.items():
        declared = {str(parameter.name) for parameter in commands[name].parser.params}
        assert arguments <= declared
        assert "path" not in arguments
    async with open_door(place, FILES) as door:
        assert (await door.line("files write a --content '[secret:x:0123456789abcdef]'")).kind == "done"
