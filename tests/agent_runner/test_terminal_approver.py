"""What a person types before a question is shown answers nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from agent_runner import terminal_approver
from agent_runner.question import Question, digest_of
from agent_runner.terminal_approver import TerminalApprover

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGV = ("http", "get", "https://example.com/")
QUESTION = Question(action="0123456789ab/1", argv=ARGV, body=None, digest=digest_of(ARGV, None), reasons=())


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make stdin a terminal, and yield where a person types."""
    keyboard, screen = os.openpty()
    try:
        with os.fdopen(screen, encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            yield keyboard
    finally:
        os.close(keyboard)


@pytest.mark.parametrize(
    ("early", "late", "verdict"), [(b"yes\n", b"no\n", "denied"), (b"no\n", b"yes\n", "approved")]
)
async def test_only_what_is_typed_after_the_question_was_shown_answers_it(
    monkeypatch: pytest.MonkeyPatch, early: bytes, late: bytes, verdict: str
) -> None:
    with terminal(monkeypatch) as keyboard:
        os.write(keyboard, early)

        asking = asyncio.create_task(TerminalApprover().ask(QUESTION))
        await asyncio.sleep(0)  # as far as the question, and the wait for an answer
        os.write(keyboard, late)
        answer = await asyncio.wait_for(asking, 60)

    assert (answer.verdict, answer.via) == (verdict, "terminal")


@pytest.mark.parametrize(("typed", "ends"), [(b"\x04", "once: \n"), (b"no\n", "once: ")])
async def test_the_end_of_input_is_a_no_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: bytes, ends: str
) -> None:
    """What was said next stood behind the question; a line that was typed has its end already."""
    with terminal(monkeypatch) as keyboard:
        asking = asyncio.create_task(TerminalApprover().ask(QUESTION))
        await asyncio.sleep(0)
        os.write(keyboard, typed)
        answer = await asyncio.wait_for(asking, 60)

    assert answer.verdict == "denied"
    assert capsys.readouterr().err.endswith(ends)


async def test_a_question_in_the_place_of_a_withdrawn_one_is_not_answered_by_what_was_being_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program asks something harmless, ends, and another asks what it wanted, as the person types."""
    monkeypatch.setattr(terminal_approver, "PAUSE_SECONDS", 0.5)
    with terminal(monkeypatch) as keyboard:
        approver = TerminalApprover()
        first = asyncio.create_task(approver.ask(QUESTION))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        said = capsys.readouterr().err
        second = asyncio.create_task(approver.ask(QUESTION))
        await asyncio.sleep(0.05)
        os.write(keyboard, b"yes\n")  # to the first
        await asyncio.sleep(1)
        was_answered = second.done()
        os.write(keyboard, b"yes\n")
        answer = await asyncio.wait_for(second, 60)

    assert "(withdrawn: the program that asked has gone, or it was answered elsewhere)" in said
    assert not was_answered
    assert answer.verdict == "approved"


async def test_a_no_that_was_typed_as_the_question_was_withdrawn_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody elsewhere said yes in that moment: of two at once a no counts."""
    with terminal(monkeypatch) as keyboard:
        asking = asyncio.create_task(TerminalApprover().ask(QUESTION))
        loop, read = asyncio.get_running_loop(), sys.stdin.readline

        def read_and_withdrawn() -> str:
            loop.call_soon(asking.cancel)
            return read()

        monkeypatch.setattr(sys.stdin, "readline", read_and_withdrawn)
        await asyncio.sleep(0.05)
        os.write(keyboard, b"no\n")
        answer = await asyncio.wait_for(asking, 60)

    assert (answer.verdict, answer.via) == ("denied", "terminal")
