"""What a person is shown before an approval is exactly what will run: whole, escaped, and nothing else."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from agent_runner.question import Question, digest_of, question_fields, question_lines
from agent_runner.terminal_approver import TerminalApprover
from policies.request import Reason

MEBIBYTE = 2**20


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
    ],
)
def test_two_command_lines_that_differ_are_never_shown_alike(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """A recipient of two words is not two arguments; nothing hides behind an escape or a blank."""
    assert asked_line(*one) != asked_line(*other)


@pytest.mark.parametrize(
    ("one", "other"), [(b"\xff", b"\\xff"), (b"\x1b[2J", b"\\x1b[2J"), (b"a\n", b"a"), (b"", b"\n")]
)
def test_two_contents_that_differ_are_never_shown_alike(one: bytes, other: bytes) -> None:
    """A byte that is no text is not shown as the text that spells it."""
    asked = [question("files", "write", "a", body=body) for body in (one, other)]

    shown = [[line for line in question_lines(each) if line.startswith("    |")] for each in asked]
    posted = [question_fields(each)["body"] for each in asked]

    assert shown[0] != shown[1]
    assert posted[0] != posted[1]


def test_a_megabyte_of_content_and_of_an_argument_is_shown_whole_with_the_command_last() -> None:
    body = b"x" * MEBIBYTE + b"\nthe end"
    argument = "y" * MEBIBYTE

    lines = question_lines(question("files", "write", argument, body=body))

    assert sum(line.count("x") for line in lines) >= MEBIBYTE
    assert "    | the end  [no newline at the end]" in lines
    assert lines[-3].count("y") == MEBIBYTE
    assert lines[-3].startswith("approve?  files write y")
    assert lines[-2] == f"          with the {len(body)} bytes of content above"


def test_no_line_of_content_can_be_taken_for_the_question() -> None:
    """B60: content that imitates it stands behind a bar; what acts on a terminal is spelled out."""
    forged = "\x1b[2J\x1b[H\napprove?  files list\ntype yes to allow it once: \u202eevil".encode()

    lines = question_lines(question("files", "remove", "a", body=forged))

    assert [line for line in lines if line.startswith("approve?")] == ["approve?  files remove a"]
    assert "\x1b" not in "".join(lines)
    assert all(line.startswith("    | ") for line in lines if "evil" in line)


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
