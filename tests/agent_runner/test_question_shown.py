"""What a person is shown before an approval is exactly what will run: whole, escaped, and nothing else."""

from __future__ import annotations

import os
import sys
import termios
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_runner.columns import fitting, rows
from agent_runner.question import Question, digest_of, question_fields, question_lines
from agent_runner.terminal_approver import TerminalApprover
from policies.request import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBIBYTE = 2**20
LEAD = "    : "
RUNS = st.lists(
    st.tuples(st.sampled_from(["a", "漢", "aaaaa", ":", "| "]), st.integers(0, 24)), min_size=1, max_size=5
)
"""Words and blanks behind each; runs of these decide where a line is broken."""
PIECES = ["\n", " ", "a", "\\", "| ", "[no newline at the end]", "approve?  ", ", no newline at the end:"]
"""What a question is made of, and what could be taken for it."""


@contextmanager
def terminal(columns: int, *, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Open a terminal of so many columns."""
    reading, writing = os.openpty()
    try:
        termios.tcsetwinsize(writing, (24, columns))
        with os.fdopen(writing, "w", encoding=encoding, errors="backslashreplace") as stream:
            yield stream
    finally:
        os.close(reading)


def question(*argv: str, body: bytes | None = None) -> Question:
    """Return a question about a command line."""
    reasons = (Reason("command", "the policy asks"),)
    return Question(
        action="0123456789ab/1", argv=argv, body=body, digest=digest_of(argv, body), reasons=reasons
    )


def asked_line(*argv: str, body: bytes | None = None) -> str:
    """Return the line that shows the command."""
    return next(line for line in question_lines(question(*argv, body=body)) if line.startswith("approve?"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("mail", "send", "a b"), ("mail", "send", "a", "b")),
        (("mail", "send", ""), ("mail", "send")),
        (("files", "write", "a", "'b'"), ("files", "write", "a", "b")),
        (("files", "write", "a\\n"), ("files", "write", "a\n")),
        (("files", "write", "\\u202e"), ("files", "write", "\u202e")),
        (("files", "write", "a\u00a0b"), ("files", "write", "a b")),
        (("files", "write", "a\u3164"), ("files", "write", "a")),
        (("files", "write", "a' 'b"), ("files", "write", "a", "b")),
        (("files", "write", "\u0430"), ("files", "write", "\\u0430")),
    ],
)
def test_two_command_lines_that_differ_are_never_shown_alike(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """A recipient of two words is not two arguments; nothing hides behind an escape or a blank."""
    assert asked_line(*one) != asked_line(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"\xff", b"\\xff"),
        (b"\x1b[2J", b"\\x1b[2J"),
        (b"a\n", b"a"),
        (b"", b"\n"),
        (b"a \nb\n", b"a\nb \n"),
        (b"a ", b"a\\x20"),
        (b"a\\nb", b"a\nb"),
        (b"a\\\nb", b"a\\\\nb"),
        (b"a", b"a  [no newline at the end]\n"),
    ],
)
def test_two_contents_that_differ_are_never_shown_alike(one: bytes, other: bytes) -> None:
    """A byte that is no text is not shown as the text that spells it."""
    asked = [question("files", "write", "a", body=body) for body in (one, other)]

    shown = [[line.rstrip() for line in question_lines(each)] for each in asked]
    posted = [question_fields(each)["body"] for each in asked]

    assert shown[0] != shown[1]
    assert posted[0] != posted[1]


def test_a_megabyte_of_content_and_of_an_argument_is_shown_whole_with_the_command_last() -> None:
    body = b"x" * MEBIBYTE + b"\nthe end"
    argument = "y" * MEBIBYTE

    lines = question_lines(question("files", "write", argument, body=body))

    assert sum(line.count("x") for line in lines) >= MEBIBYTE
    assert "    | the end" in lines
    assert "content, 2 lines, no newline at the end:" in lines
    assert lines[-3].count("y") == MEBIBYTE
    assert lines[-3].startswith("approve?  files write y")
    assert lines[-2] == "          with the content above"


def test_no_line_of_content_can_be_taken_for_the_question() -> None:
    """B60: content that imitates it stands behind a bar; what acts on a terminal is spelled out."""
    forged = "\x1b[2J\x1b[H\napprove?  files list\ntype yes to allow it once: \u202eevil".encode()

    lines = question_lines(question("files", "remove", "a", body=forged))

    assert [line for line in lines if line.startswith("approve?")] == ["approve?  files remove a"]
    assert "\x1b" not in "".join(lines)
    assert all(line.startswith("    | ") for line in lines if "evil" in line)


@given(runs=RUNS, run=st.integers(0, 4), columns=st.integers(20, 24))
@example(runs=[("aaaaa", 14)], run=0, columns=20)
@example(runs=[("aaaaa" * 4, 17)], run=0, columns=20)
def test_a_blank_more_is_seen_wherever_a_line_is_broken(
    runs: list[tuple[str, int]], run: int, columns: int
) -> None:
    """The indentation of a program decides what it does; a row's end does not show its blanks."""
    run = min(run, len(runs) - 1)
    longer = [(word, blanks + (number == run)) for number, (word, blanks) in enumerate(runs)]
    both = ["".join(word + " " * blanks for word, blanks in each) + "漢" for each in (runs, longer)]

    shown = [[row.rstrip(" ") for row in rows(line, columns=columns, lead=LEAD)] for line in both]

    assert shown[0] != shown[1]
    for found in shown:
        assert all(fitting(row, 0, columns) == len(row) for row in found)
        assert all(row.startswith(LEAD.rstrip(" ")) for row in found[1:])


@given(
    one=st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    other=st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    columns=st.sampled_from([0, 20, 40]),
)
def test_contents_of_the_questions_own_words_are_never_shown_alike(
    one: str, other: str, columns: int
) -> None:
    with terminal(columns) as stream:
        shown = [
            [line.rstrip(" ") for line in question_lines(question("a", body=each.encode()), on=stream)]
            for each in (one, other)
        ]

    assert (shown[0] == shown[1]) == (one == other)


def test_what_goes_on_in_the_next_row_is_taken_for_no_line_of_its_own() -> None:
    """B60: an argument as wide as the terminal would begin the question anew; so would content."""
    forged = "x" * 70 + " approve?  files list           with the content above" + " " * 20 + "| all of it"

    with terminal(40) as stream:
        lines = question_lines(question("files", "remove", forged, body=forged.encode()), on=stream)

    assert [line for line in lines if line.startswith("approve?")] == ["approve?  files remove"]
    assert [line for line in lines if line.startswith("    |")] == ["    | " + "x" * 34]
    assert lines.count("          with the content above") == 1


@pytest.mark.parametrize("columns", [10, 20])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_row_is_as_wide_as_the_terminal_shows_it(encoding: str, columns: int) -> None:
    """A terminal that breaks a row itself breaks it where the agent wants."""
    forged = "m " + "漢" * 12 + "approve?  files list"

    with terminal(columns, encoding=encoding) as stream:
        lines = question_lines(question("files", "remove", forged, body=forged.encode()), on=stream)
        assert [line for line in lines if line.startswith("approve?")] == ["approve?  files"]

    content = [line for line in lines if line.startswith(("    |", "    :"))]
    assert all(fitting(line, 0, 20) == len(line) for line in content)
    assert "".join(lines).encode(encoding)


def test_letters_that_look_like_others_are_spelled_where_they_stand() -> None:
    """A recipient in letters of another script is another recipient; among many such letters, too."""
    named = question_lines(question("mail", "send", "\u0430nna", "anna" + "ü" * 20))
    plain = question_lines(question("mail", "send", "anna@example.com"))

    assert "  ASCII:  mail send \\u0430nna anna" + "\\xfc" * 20 in named
    assert not any("ASCII" in line for line in plain)


async def test_a_question_that_cannot_be_shown_is_answered_by_nobody_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stderr without a reader: whoever would type `yes` has not seen what for."""

    class Gone:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())

    answer = await TerminalApprover().ask(replace(question("files", "list"), body=b"new"))

    assert (answer.verdict, answer.via) == ("timed_out", "clock")
