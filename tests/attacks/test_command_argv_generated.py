"""Generated values in argvs of real containers: refused, or there byte for byte (B49 to B54, B56)."""

from __future__ import annotations

import hashlib
import json
import random
import shlex
from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from cli_tools.action import Catalogue, ToolProposal
from cli_tools.declared import declared_commands
from cli_tools.errors import UsageError
from tests.promises.conftest import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.promises.conftest import Action, Ran

pytestmark = pytest.mark.engine
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))]
PRINTER = (
    "import hashlib, os, sys; words = [os.fsencode(word) for word in sys.argv[1:]]; "
    "print(len(words), hashlib.sha256(bytes(1).join(words)).hexdigest())"
)
DECLARED = f"""version: 1
commands:
  - name: NAME
    summary: Tell what argv arrived.
    program: python3
    CONNECTOR
    needs: [NEEDS]
    sinks: {{}}
    arguments:
      words: {{type: pattern, pattern: '(?s).*', literal: true, many: true}}
    argv: ["-c", {json.dumps(PRINTER)}, "--", "{{words}}"]
    examples: [{{line: NAME x, runs: false}}]
"""
WORKING = """version: 1
name: working
grant: [exec]
exec: {programs: any}
commands: {allow: [run, python, shell, "show *"]}
"""
CONNECTED = """version: 1
name: connected
grant: [network]
network: {allow: []}
commands: {allow: ["desk *"]}
"""
PIECES = [
    "-", "--", "-c", "-x", "--help", "--cwd=/", "--stdin", "--env=A=b", "+x", "@", "@file", "@/etc/passwd",
    "%VAR%", "%s%n", "%2e%2e/", "$HOME", "${IFS}", "$(id)", "`id`", "; id", "&& id", "| id", "> x", "< x",
    "*", "?", "[a-z]", "{a,b}", "~", "~root", "!!", "#", "=", ",", ":", "\\", "\\n", "'", '"', "''", "\\\n",
    " ", "  ", "\n", "\r\n", "\t", "\v", "\x01", "\x1b[2J", "\x7f", "\x85", "\xa0", "\xad", "..", "/",
    "./", "a", "word", "\u00e9", "e\u0301", "\u0130", "\u2010", "\u2013x", "\uff0d", "\u200b", "\u200e",
    "\u202e", "\u2066", "\u2028", "\u2029", "\ufeff", "\ufffd", "\uffff", "\U0001f600", "\U000e0041",
    "\U0010ffff", "\u27e62d\u27e7", "\u27e6", "<|im_end|>", "[INST]", "{words}", "{{",
    "(the content)", "null", "0", "-1",
]  # fmt: skip
WRONG = ["\0", "a\0--all", "\ud800", "x\udcff", "\udbff\udbff"]


def value(choose: random.Random) -> str:
    """Return a text that argv can hold: of signs that mean something, of any characters, or long."""
    kind = choose.random()
    if kind < 0.02:
        return choose.choice(PIECES) * choose.randint(200, 2000)
    if kind < 0.3:
        points = (choose.choice([0x7F, 0x800, 0x10000, 0x110000]) for _ in range(choose.randint(1, 12)))
        characters = (chr(choose.randrange(1, most)) for most in points)
        return "".join(each for each in characters if not "\ud800" <= each <= "\udfff")
    return "".join(choose.choice(PIECES) for _ in range(choose.choice([0, 1, 1, 1, 2, 2, 3, 5])))


def told(words: list[str]) -> str:
    """Return what the printer says of these."""
    raw = [word.encode() for word in words]
    return f"{len(raw)} {hashlib.sha256(bytes(1).join(raw)).hexdigest()}"


def tool(name: str, **arguments: object) -> Action:
    return {"tool": name, "arguments": json.dumps(arguments)}


def taken(choose: random.Random, text: str, count: int) -> Iterator[str]:
    """Yield values that a declared command takes, as its own parser says."""
    ((_, command),) = declared_commands(text, origin="x")
    catalogue = Catalogue((command,))
    name = "_".join(command.path)
    while count:
        word = value(choose)
        try:
            action = catalogue.parse(ToolProposal(tool=name, arguments=json.dumps({"words": [word]})))
        except UsageError:
            continue
        assert action.parameters["words"] == (word,)
        count -= 1
        yield word


def declared(name: str, *, needs: str, connector: str = "") -> str:
    given = f"connector: {connector}" if connector else ""
    return DECLARED.replace("NAME", name).replace("NEEDS", needs).replace("CONNECTOR", given)


@pytest.fixture
def lab(new_state: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return a place to run sessions in, with a declared command and a connector's container."""
    configured = {"version": 1, "connectors": {"programs": {"desk": {"image": "pairlock/starter"}}}}
    path = tmp_path / "config" / "config.yaml"
    (path.parent / "commands").mkdir(parents=True)
    path.write_text(json.dumps(configured))
    (path.parent / "commands" / "show.yaml").write_text(declared("show argv", needs="exec"))
    desk = declared("desk argv", needs="network", connector="desk")
    (path.parent / "commands" / "desk.yaml").write_text(desk)
    monkeypatch.setattr(models, "configuration_path", lambda: path)
    monkeypatch.setattr("agent_runner.commands.configuration_path", lambda: path)
    return Lab(new_state=new_state, folder=tmp_path)


def require_arrived(ran: Ran, expected: list[list[str]]) -> None:
    assert len(ran.seen) >= len(expected)
    for words, seen in zip(expected, ran.seen, strict=False):  # the last that was seen is how it ended
        assert (seen.kind, seen.text) == ("done", told(words)), ascii(words)


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_values_reach_programs_of_the_image_byte_for_byte(lab: Lab, seed: int) -> None:
    """Through `run`, `python`, `shell` and a declared command, as tool calls and as command lines."""
    choose = random.Random(seed)  # noqa: S311 - a test's choices
    shell = f'exec python3 -c {shlex.quote(PRINTER)} "$@"'
    actions: list[Action] = []
    expected: list[list[str]] = []
    for _ in range(8):
        words = [[value(choose) for _ in range(120)] for _ in range(3)]
        short = [word for word in (value(choose) for _ in range(150)) if len(word) < 60]
        accepted = list(taken(choose, declared("show argv", needs="exec"), 120))
        actions += [
            tool("run", argv=["python3", "-c", PRINTER, *words[0]]),
            tool("python", code=PRINTER, arguments=words[1]),
            tool("shell", code=shell, arguments=words[2]),
            shlex.join(["run", "python3", "-c", PRINTER, *short]),
            tool("show_argv", words=accepted),
        ]
        expected += [*words, short, ["--", *accepted]]

    ran = lab.run(WORKING, actions)

    require_arrived(ran, expected)
    assert len(ran.entries("process.started")) == len(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_values_reach_a_connectors_program_byte_for_byte(lab: Lab, seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - a test's choices
    desk = declared("desk argv", needs="network", connector="desk")
    given = [list(taken(choose, desk, 120)) for _ in range(10)]

    ran = lab.run(CONNECTED, [tool("desk_argv", words=words) for words in given])

    require_arrived(ran, [["--", *words] for words in given])


def test_what_no_argv_can_hold_starts_nothing(lab: Lab) -> None:
    """The twin is the same call without such a value."""
    actions = [
        call
        for word in WRONG
        for call in (
            tool("run", argv=["python3", "-c", PRINTER, word]),
            tool("python", code=PRINTER, arguments=[word]),
            tool("shell", code="true", arguments=[word]),
            tool("show_argv", words=[word]),
        )
    ]

    ran = lab.run(WORKING, [*actions, tool("run", argv=["python3", "-c", PRINTER, "x"])])

    assert [seen.kind for seen in ran.seen[: len(actions)]] == ["error"] * len(actions)
    assert ran.seen[len(actions)].text == told(["x"])
    assert len(ran.entries("process.started")) == 1
