"""Plain words are read at once, and mean what click says that they mean, or are left to click."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_tools.catalogue import built_in
from cli_tools.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

PARSERS = {command.name: command.parser for command in built_in().commands}
VALUES = ("a", "src/app.py", "/workspace/x", "..", "1", "3-4", "9-1", "", "-", "--", "-x", "done", "é", "=")
URLS = ("https://example.com/", "C012AB3CD", "#general", "a@example.com", "1700000000.000100")


def by_click(parser: Parser, words: Sequence[str]) -> list[tuple[str, Any]] | None:
    """Return what click reads, in its order; None where it refuses."""
    try:
        return list(parser.make_context(parser.name, list(words)).params.items())
    except click.ClickException:
        return None


def by_us(parser: Parser, words: Sequence[str]) -> list[tuple[str, Any]] | None:
    """Return the same as the gate reads it."""
    try:
        return list(parser.values(words).items())
    except click.ClickException:
        return None


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw a command and words of which many are its own options."""
    name = draw(st.sampled_from(sorted(PARSERS)))
    flags = [flag for parameter in PARSERS[name].params for flag in parameter.opts if flag.startswith("-")]
    value = st.one_of(st.sampled_from(VALUES + URLS), st.text(max_size=6))
    option = st.sampled_from(flags or ["--none"])
    joined = st.tuples(option, value).map("=".join)
    return name, draw(st.lists(st.one_of(value, option, joined), max_size=6))


@given(line=lines())
def test_words_mean_what_click_says(line: tuple[str, list[str]]) -> None:
    """The same values, in the same order, of the same types; refused where click refuses."""
    name, words = line

    found, expected = by_us(PARSERS[name], words), by_click(PARSERS[name], words)

    assert found == expected
    assert [type(value) for _, value in found or []] == [type(value) for _, value in expected or []]


@pytest.mark.parametrize("command", built_in().commands, ids=lambda command: command.name)
def test_a_command_s_own_examples_are_read_without_click(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the other tests would hold by leaving everything to click."""
    monkeypatch.setattr(click.Command, "parse_args", _never)

    for example in command.examples:
        command.parser.values(shlex.split(example)[len(command.path) :])


def _never(*_arguments: object) -> None:
    raise AssertionError("click was asked")


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
)


@pytest.mark.parametrize("parameter", OTHERS, ids=lambda parameter: parameter.name)
@pytest.mark.parametrize("last", [True, False])
def test_a_kind_of_parameter_that_no_command_has_is_read_as_click_reads_it(
    parameter: click.Parameter, *, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever declares one later gets click's reading, not something near it."""
    monkeypatch.setenv("PAIRLOCK_TEST_VARIABLE", "told")
    parser = Parser("x", [parameter, click.Option(["--plain"])], "Do x.", takes_options_last=last)
    words = [*parameter.opts, *parameter.secondary_opts, "--plain", "a", "--plain=b", "1", "-sx", "--"]

    for first in [None, *words]:
        for second in [None, *words]:
            for third in [None, *words]:
                line = [word for word in (first, second, third) if word is not None]
                assert by_us(parser, line) == by_click(parser, line)
