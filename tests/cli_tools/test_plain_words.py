"""Plain words are read at once, and mean what click says that they mean, or are left to click."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli_tools.catalogue import built_in
from cli_tools.declared import declared_commands
from cli_tools.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

DECLARED = """version: 1
commands:
  - name: pack all
    summary: Take a choice, paths, numbers and texts.
    program: pack
    needs: [files, exec]
    sinks: {}
    arguments:
      kind: {type: enum, values: [one, "1", x]}
      input: {type: path, access: read, many: true}
      count: {type: integer, least: -3, most: 10, default: 4}
      level: {type: integer, least: 0, most: 1, required: false, many: true}
      as: {type: enum, values: [a, done], default: a}
      word: {type: pattern, pattern: "[a-z0-9_+]+", default: "1"}
      other: {type: path, access: write, required: false, many: true}
      n: {type: flag}
    stdin: {}
    argv: [--, "{kind}", "{input}", "{count}", "{level}", "{as}", "{word}", "{other}", {with: n, words: [n]}]
    examples: [{line: pack all one x, runs: false}]
  - name: ask
    summary: Take a host.
    program: ask
    needs: [network, exec]
    sinks: {to: host, by: host}
    arguments:
      to: {type: host}
      by: {type: host, required: false}
    argv: [--, "{to}", {with: by, words: ["{by}"]}]
    examples: [{line: ask example.com, runs: false}]
"""
COMMANDS = (*built_in().commands, *(command for _, command in declared_commands(DECLARED, origin="x")))
PARSERS = {command.name: command.parser for command in COMMANDS}
VALUES = (
    *("a", "src/app.py", "/workspace/x", "..", "1", "3-4", "9-1", "", "-", "--", "-x", "done", "é", "="),
    *("-1", "+3", "1_0", "\udc80", "one", "-3"),
)
URLS = ("https://example.com/", "C012AB3CD", "#general", "a@example.com", "1700000000.000100")
Read = list[tuple[str, Any]] | tuple[type[click.ClickException], str]
"""What was read, in order; or what was wrong, and how it was told."""


def by_click(parser: Parser, words: Sequence[str]) -> Read:
    """Return what click reads."""
    try:
        return list(parser.make_context(parser.name, list(words)).params.items())
    except click.ClickException as error:
        return type(error), error.format_message()


def by_us(parser: Parser, words: Sequence[str]) -> Read:
    """Return the same as the gate reads it."""
    try:
        return list(parser.values(words).items())
    except click.ClickException as error:
        return type(error), error.format_message()


def types_of(read: Read) -> list[type]:
    return [type(value) for _, value in read] if isinstance(read, list) else []


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw a command and words of which many are its own options, whole, cut off or with a value."""
    name = draw(st.sampled_from(sorted(PARSERS)))
    flags = [flag for parameter in PARSERS[name].params for flag in parameter.opts if flag.startswith("-")]
    value = st.one_of(st.sampled_from(VALUES + URLS), st.text(max_size=6))
    option = st.sampled_from(flags or ["--none"])
    part = option.map(lambda flag: flag[:-1])
    joined = st.tuples(st.one_of(option, part), value).map("=".join)
    return name, draw(st.lists(st.one_of(value, option, part, joined), max_size=6))


@given(line=lines())
@example(line=("git status", ["--path", "\udc80", "--x"]))
@example(line=("files read", ["\udc80"]))
def test_words_mean_what_click_says(line: tuple[str, list[str]]) -> None:
    """The same values, in the same order, of the same types; refused where click refuses, in its words."""
    name, words = line

    found, expected = by_us(PARSERS[name], words), by_click(PARSERS[name], words)

    assert found == expected
    assert types_of(found) == types_of(expected)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_s_own_examples_are_read_without_click(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the other tests would hold by leaving everything to click."""
    monkeypatch.setattr(click.Command, "parse_args", _never)

    for line in command.examples:
        command.parser.values(shlex.split(line)[len(command.path) :])


def _never(*_arguments: object) -> None:
    raise AssertionError("click was asked")


class Nothing(click.ParamType[Any]):
    """Take a word for none."""

    name = "nothing"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:  # noqa: ARG002
        """Return None for `a`."""
        return None if value == "a" else value


class Called(click.ParamType[str]):
    """Read a word elsewhere than in `convert`."""

    name = "called"

    def __call__(self, value: Any, *_: object, **__: object) -> Any:
        """Return it with a mark."""
        return f"{value}, called"


class Marking(click.Option):
    """Read a value otherwise than its type does."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return it with a mark."""
        return super().type_cast_value(ctx, value), "marked"


class MarkingArgument(click.Argument):
    """The same for an argument."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return it with a mark."""
        return super().type_cast_value(ctx, value), "marked"


OTHERS = (
    click.Option(["--no/--yes"], default=True),
    click.Option(["-s", "--short"]),
    click.Option(["--pair"], nargs=2),
    click.Option(["--count"], count=True),
    click.Option(["--called"], callback=lambda _context, _parameter, value: (value, "called")),
    click.Option(["--variable"], envvar="PAIRLOCK_TEST_VARIABLE"),
    click.Option(["--off", "on"], flag_value=False, is_flag=True, default=True),
    click.Option(["--kind"], flag_value="a", is_flag=True),
    click.Option(["--default"], type=int, default="4"),
    click.Option(["--refused"], type=click.IntRange(1, 3), default=9),
    click.Option(["--twice"], multiple=True, default=("a",)),
    click.Argument(["rest"], nargs=-1, default=("a", "b"), required=False),
    click.Argument(["several"], nargs=3, required=False),
    click.Argument(["one"], required=False, default="x"),
    click.Option(["--counted"], default=lambda: os.environ.get("PAIRLOCK_TEST_VARIABLE")),
    click.Option(["--none"], type=Nothing(), default="x"),
    click.Option(["--none-at-all"], type=Nothing(), required=True),
    click.Argument(["none"], type=Nothing(), required=False, default="x"),
    click.Argument(["needed"], type=Nothing()),
    click.Argument(["nones"], type=Nothing(), nargs=-1, required=False),
    click.Option(["--by-call"], type=Called()),
    click.Argument(["by-call"], type=Called()),
    Marking(["--marked"]),
    MarkingArgument(["marked"], required=False),
    click.Option(["--plain-too", "plain"], is_flag=True),
    click.Option(["--bare"], is_flag=False, flag_value="bare"),
    click.Option(["--flags"], is_flag=True, multiple=True),
)


@pytest.mark.parametrize("parameter", OTHERS, ids=lambda parameter: parameter.name)
@pytest.mark.parametrize("last", [True, False])
def test_a_kind_of_parameter_that_no_command_has_is_read_as_click_reads_it(
    parameter: click.Parameter, *, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever declares one later gets click's reading, not something near it."""
    monkeypatch.setenv("PAIRLOCK_TEST_VARIABLE", "earlier")
    parser = Parser("x", [parameter, click.Option(["--plain"])], "Do x.", takes_options_last=last)
    monkeypatch.setenv("PAIRLOCK_TEST_VARIABLE", "told")
    words = [*parameter.opts, *parameter.secondary_opts, "--plain", "a", "--plain=b", "1", "-sx", "--"]

    for first in [None, *words]:
        for second in [None, *words]:
            for third in [None, *words]:
                line = [word for word in (first, second, third) if word is not None]
                assert by_us(parser, line) == by_click(parser, line)
