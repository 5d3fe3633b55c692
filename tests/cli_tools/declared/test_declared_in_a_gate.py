"""Declared commands in a real gate before a real guest: argv byte for byte, output and ledger as declared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cli_tools.action import Catalogue
from cli_tools.catalogue import built_in
from cli_tools.declared import declared_commands
from tests.cli_tools.door import open_door

if TYPE_CHECKING:
    from pathlib import Path

PRINTER = "import os, sys; print([os.fsencode(word).hex() for word in sys.argv[1:]])"
DECLARED = f"""version: 1
commands:
  - name: show argv
    summary: Print the argv that arrived.
    program: python3
    needs: [files, exec]
    sinks: {{}}
    arguments:
      text: {{type: pattern, pattern: '.*', literal: true}}
      path: {{type: path, access: read, literal: true}}
      word: {{type: pattern, pattern: '.*', literal: true, required: false}}
    argv: [-c, {json.dumps(PRINTER)}, "--text={{text}}", "{{path}}", {{with: word, words: ["{{word}}"]}}]
    examples: [{{line: show argv a b}}]
  - name: show lines
    summary: Print lines.
    program: python3
    needs: [files, exec]
    sinks: {{}}
    stdin: {{}}
    argv: [-c, "import sys; sys.stdout.write(sys.stdin.read()); sys.stderr.write('noise'); sys.exit(3)"]
    output: {{keep: ['^e'], drop: [secret], first_lines: 2, errors: false}}
    examples: [{{line: show lines}}]
"""
POLICY = """version: 1
name: x
grant: [files, exec]
files: {hide: [hidden.txt]}
exec: {programs: [nothing]}
commands: {allow: ["show *"]}
"""
CATALOGUE = Catalogue((*built_in().commands, *(made for _, made in declared_commands(DECLARED, origin="x"))))
TEXTS = [
    "plain", "a b", "'", '"', "\\", "$HOME", "$(id)", "`id`", ";id", "&&id", "|id", ">x", "*", "?", "~x",
    "{a,b}",
    "%s", "!!", "-x", "--", "--text", "-", "a:b", "#", " ", "\u00e9", "\U0001f600", "\u202e", "a" * 4096,
]  # fmt: skip


async def test_the_argv_arrives_byte_for_byte_and_is_in_the_ledger(place: Path) -> None:
    """Printed by the program itself; no shell, no expansion, one word for each value."""
    async with open_door(place, POLICY, catalogue=CATALOGUE) as door:
        seen = [
            await door.tool("show_argv", text=text, path=text, **({} if text[0] == "-" else {"word": text}))
            for text in TEXTS
        ]
        started = [entry["argv"] for entry in door.entries("process.started")]

    for text, observation, argv in zip(TEXTS, seen, started, strict=True):
        path = "." if text == "." else f"./{text}"
        arrived = [f"--text={text}", path, *([] if text[0] == "-" else [text])]
        assert observation.text == str([word.encode().hex() for word in arrived])
        assert argv[0] == "python3"
        assert argv[3:] == arrived


async def test_the_output_is_filtered_and_what_is_left_out_is_told(place: Path) -> None:
    async with open_door(place, POLICY, catalogue=CATALOGUE) as door:
        seen = await door.line("show lines", body="e1\nx\ne secret\ne2\ne3\n")

    assert seen.text.splitlines() == ["e1", "e2", "note: 3 of 5 lines are not shown", "exit code 3"]


async def test_the_policy_decides_on_a_declared_path(place: Path) -> None:
    """What is hidden is denied before the program starts; the twin, another path, is not."""
    async with open_door(place, POLICY, catalogue=CATALOGUE) as door:
        denied = await door.line("show argv x hidden.txt")
        allowed = await door.line("show argv x seen.txt")
        other = await door.line("run python3 -c pass")

    assert [reason.code for reason in denied.reasons] == ["hidden"]
    assert allowed.kind == "done"
    assert "command" in [reason.code for reason in other.reasons]


async def test_a_refused_value_is_a_usage_error_and_starts_nothing(place: Path) -> None:
    async with open_door(place, POLICY, catalogue=CATALOGUE) as door:
        seen = await door.tool("show_argv", text="a=b\n", path="a")
        started = door.entries("process.started")

    assert seen.text.startswith("error (usage)")
    assert started == []


async def test_without_exec_a_declared_command_is_denied_by_capability(place: Path) -> None:
    policy = POLICY.replace("[files, exec]", "[files]").replace("exec: {programs: [nothing]}\n", "")

    async with open_door(place, policy, catalogue=CATALOGUE) as door:
        seen = await door.line("show argv x y")

    assert [reason.code for reason in seen.reasons] == ["capability"]
