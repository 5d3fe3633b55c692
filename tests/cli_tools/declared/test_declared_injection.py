"""Hundreds of hostile values, of every type, at every place of an argv: refused, or one word each.

What may pass is judged by parsers that are not ours: getopt, argparse with response files, shlex, glob,
expandvars, urlsplit, and programs that print their argv.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import shlex
from getopt import GetoptError, gnu_getopt
from itertools import product
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import pytest

from cli_tools.action import Catalogue, ToolProposal, WordsProposal
from cli_tools.catalogue import built_in
from cli_tools.declared import declared_commands
from cli_tools.errors import UsageError
from policies.hosts import canonical_host
from tests.cli_tools.declared.hostile import VALUES
from tests.cli_tools.door import open_door

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {
    "text": "{type: pattern, pattern: '(?s).*'}",
    "raw": "{type: pattern, pattern: '(?s).*', literal: true}",
    "path": "{type: path, access: read}",
    "rawpath": "{type: path, access: read, literal: true}",
    "choice": "{type: enum, values: [one, two words, -x]}",
    "count": "{type: integer, least: -5, most: 5}",
    "to": "{type: host}",
}
SHAPES = {
    "alone": ["{v}"],
    "behind": ["--", "{v}"],
    "optional": ["--opt", "{v}"],
    "joined": ["--opt={v}"],
    "inner": ["--opt=-Wl,{v}"],
    "begun": ["{v}.txt"],
    "spaced": ["show {v}"],
    "folder": ["a/{v}"],
    "replaced": ["s/a/{v}/"],
}
ALONE = {"alone", "optional"}
"""Where a value is a word that the program may take for an option."""


def declared(name: str, kind: str, words: list[str], *, program: str = "printargs") -> str:
    """Return one command of a file."""
    needs = "[exec]" if kind != TYPES["to"] else "[network, exec]"
    if "path" in kind:
        needs = "[files, exec]"
    sinks = "{v: host}" if kind == TYPES["to"] else "{}"
    return f"""  - name: {name}
    summary: Print a value.
    program: {program}
    needs: {needs}
    sinks: {sinks}
    arguments: {{v: {kind}}}
    argv: {json.dumps(words)}
    examples: [{{line: {name} a, runs: false}}]
"""


ALL = "version: 1\ncommands:\n" + "".join(
    declared(f"{kind} {shape}", TYPES[kind], SHAPES[shape]) for kind, shape in product(TYPES, SHAPES)
)
CATALOGUE = Catalogue(made for _, made in declared_commands(ALL, origin="x"))


def words_with(name: str, value: str) -> tuple[str, ...] | None:
    """Return what follows the program; None where the value is refused."""
    try:
        action = CATALOGUE.parse(ToolProposal(tool=name, arguments=json.dumps({"v": value})))
    except UsageError:
        return None
    argv = action.command.started(action.parameters)
    again = CATALOGUE.parse(WordsProposal(words=action.argv))
    assert again.command.started(again.parameters) == argv, "the ledger's words mean another argv"
    assert argv[0] == "printargs"
    return argv[1:]


def canonical(kind: str, value: str) -> str:
    """Return the form in which a type writes a value."""
    if "path" in kind:
        inside = re.sub("^/workspace(/+|$)", "", value) or "."
        return inside if inside == "." or inside.startswith("./") else f"./{inside}"
    if kind == "count":
        return str(int(value))
    return canonical_host(value) if kind == "to" else value


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", TYPES)
def test_a_hostile_value_is_refused_or_the_one_word_that_it_is(kind: str, shape: str) -> None:
    """The argv is the template with the value in it: as many words, each with the same text around it."""
    taken = 0
    for value in VALUES:
        words = words_with(f"{kind}_{shape}", value)
        if words is None:
            continue
        taken += 1
        assert words == tuple(word.replace("{v}", canonical(kind, value)) for word in SHAPES[shape]), repr(
            value
        )
        assert not any(ord(character) < 0x20 for word in words for character in word), repr(value)
        if shape in ALONE:
            assert not words[-1].startswith("-"), repr(value)
        if shape == "behind" and kind != "raw":
            assert words[-1] != "-", repr(value)
    assert taken, "the twin: some value is taken by every type at every place"


@pytest.mark.parametrize("shape", sorted(ALONE))
@pytest.mark.parametrize("kind", ["text", "path", "choice", "to"])
def test_other_parsers_read_nothing_more_into_a_value_that_stands_alone(kind: str, shape: str) -> None:
    """No option for getopt, no response file for argparse, plain words for a shell, nothing to expand."""
    reads = _Parser(fromfile_prefix_chars="@+", add_help=False)
    reads.add_argument("--opt")
    reads.add_argument("operand", nargs="*")
    taken = 0
    for value in VALUES:
        words = words_with(f"{kind}_{shape}", value)
        if words is None:
            continue
        taken += 1
        text = words[-1]
        options, operands = gnu_getopt(list(words), "", ["opt="])
        assert [*(found for _, found in options), *operands] == [text]
        assert reads.parse_args(list(words)) == argparse.Namespace(
            opt=text if shape == "optional" else None, operand=[] if shape == "optional" else [text]
        )
        if kind == "choice":
            continue
        assert shlex.split(text) == [word for word in text.split(" ") if word], repr(value)
        assert not set(text) & set(";&|<>()`$"), repr(value)
        assert not glob.has_magic(text)
        assert os.path.expandvars(os.path.expanduser(text)) == text  # noqa: PTH111 - the very expansion
        if kind == "text":
            assert not urlsplit(text).scheme, repr(value)
            assert "=" not in text
    assert taken >= 2


def test_an_oracle_of_these_tests_finds_an_option_where_there_is_one() -> None:
    """The twin of what they find nothing in."""
    with pytest.raises(GetoptError):
        gnu_getopt(["-x"], "", ["opt="])
    assert urlsplit("file:///etc/passwd").scheme == "file"
    assert shlex.split("a'b c'") == ["ab c"]


@pytest.mark.parametrize(
    "value",
    ["CC=id", "of=x", "file:///etc/passwd", "ext::id", "host:x", "x;id", "id|", "$(id)", "it's", "(x)", "-"],
)
def test_what_is_refused_by_default_is_taken_where_the_program_takes_it_as_it_is(value: str) -> None:
    assert words_with("text_alone", value) is None
    assert words_with("text_behind", value) is None
    assert words_with("raw_behind", value) == ("--", value)


PRINTER = "import os, sys; print([os.fsencode(word).hex() for word in sys.argv[1:]])"
POLICY = """version: 1
name: x
grant: [files, exec]
exec: {programs: [nothing]}
commands: {allow: ["arrive *"]}
"""


async def test_what_is_taken_arrives_in_a_program_as_the_very_bytes(place: Path) -> None:
    """Of every type that a session with files can hold, printed by the program that got it."""
    words = ["-c", PRINTER, "{v}", "--", "{v}"]
    kinds = [kind for kind in TYPES if kind != "to"]
    text = "version: 1\ncommands:\n" + "".join(
        declared(f"arrive {kind}", TYPES[kind], words, program="python3") for kind in kinds
    )
    made = [command for _, command in declared_commands(text, origin="x")]
    taken = 0

    async with open_door(place, POLICY, catalogue=Catalogue((*built_in().commands, *made))) as door:
        for kind, value in product(kinds, VALUES[::9]):
            seen = await door.tool(f"arrive_{kind}", v=value)
            if seen.text.startswith("error (usage)"):
                continue
            taken += 1
            arrived = [canonical(kind, value), "--", canonical(kind, value)]
            assert seen.text == str([os.fsencode(word).hex() for word in arrived]), repr(value)

    assert taken > 20
