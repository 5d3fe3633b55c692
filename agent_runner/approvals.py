"""Ask a person whether one action may happen. What is shown is exactly what will run; time out is no.

An answer fits one action, named by its digest, and never widens the grant. Question and answer are entries of
the ledger, the answer before the action.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, assert_never

from agent_runner.question import Question, digest_of
from audit import event
from cli_tools.record import written
from policies.request import Allowed, Denied, NeedsApproval, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from audit.journal import Journal
    from cli_tools.action import Action
    from cli_tools.record import Record

WAIT_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 1.0
"""How often it is looked, while a person is asked, whether there is still something to answer for."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person said, or the clock."""

    verdict: Literal["approved", "denied", "timed_out"]
    by: str
    """Who, as far as is known."""
    via: str
    """`terminal`, `socket`, `webhook` or `clock`."""


class Asker(Protocol):
    """Put a question to a person; the task in which it is put is the question's alone.

    Cancelled, it raises; one that has taken an answer by then returns it.
    """

    async def ask(self, question: Question) -> Answer:
        """Return the answer; an asker whose time is over answers `timed_out`."""
        ...


class NobodyApprover:
    """Say no: there is nobody to ask."""

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Answer that nobody did."""
        return Answer(verdict="timed_out", by="nobody", via="clock")


class OneAtATime:
    """Put one question after another: an answer is to the one that is shown, whoever asked the other.

    Args:
        asker: Who puts them.
        require: Raises when an answer would be of no use any more, for example because the sandbox is gone;
            looked at every second while one is waited for.
    """

    def __init__(self, asker: Asker, *, require: Callable[[], None] = _nothing) -> None:
        self._asker = asker
        self._require = require
        self._turn = asyncio.Lock()

    async def ask(self, question: Question) -> Answer:
        """Return the answer, once those to earlier questions are there."""
        async with self._turn:
            asked = asyncio.ensure_future(self._asker.ask(question))
            try:
                while not (await asyncio.wait({asked}, timeout=LOOK_SECONDS))[0]:
                    self._require()
            except asyncio.CancelledError:
                await _withdraw(asked)
                if not _has_said(asked):
                    raise
            finally:
                await _withdraw(asked)
            return asked.result()


class RecordedApprover:
    """Ask, and write question and answer into the ledger; the gate's `Approver`.

    Args:
        journal: The session's ledger.
        record: The gate's record, which numbers the actions.
        session: The session's id.
        asker: Who puts the question.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        record: Record,
        session: str,
        asker: Asker,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._record = record
        self._session = session
        self._asker = asker
        self._monotonic = monotonic
        self._open = 0
        self._since = 0.0
        self.waited_seconds = 0.0
        """While at least one question was open."""

    async def approve(self, number: str, action: Action, question: NeedsApproval) -> Allowed | Denied:
        """Return what the person said of this very action."""
        asked = Question(
            action=number,
            argv=action.argv,
            body=action.body,
            digest=digest_of(action.argv, action.body),
            reasons=question.reasons,
        )
        if not self._open:
            self._since = self._monotonic()
        self._open += 1
        try:
            why_not = await ask_and_record(self._journal, self._asker, asked, monotonic=self._monotonic)
        finally:
            self._open -= 1
            if not self._open:
                self.waited_seconds += self._monotonic() - self._since
        if not why_not:
            return Allowed(egress=question.egress)
        return Denied((Reason(question.reasons[0].code, f"not approved: {why_not}"),))


async def ask_and_record(
    journal: Journal,
    asker: Asker,
    question: Question,
    *,
    wait_seconds: float | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> str:
    """Ask, write question and answer into the ledger, and return why not; empty when it was approved.

    Args:
        journal: The session's ledger; the question is durable before it is put, the answer before it counts.
        asker: Who puts it.
        question: What about.
        wait_seconds: How long an answer may take, waiting for other questions included; None for as long as
            the asker takes, whose time is bounded by itself.
        monotonic: A clock in seconds.
    """
    reasons = tuple(map(written, question.reasons))
    await journal.record(
        event.ApprovalRequested(action=question.action, digest=question.digest, reasons=reasons)
    )
    start = monotonic()
    answer = await _answer_within(wait_seconds, asker, question)
    await journal.record(
        event.ApprovalAnswered(
            action=question.action,
            digest=question.digest,
            answer=answer.verdict,
            by=answer.by,
            via=answer.via,
            waited_ms=int((monotonic() - start) * 1000),
        )
    )
    match answer.verdict:
        case "approved":
            return ""
        case "denied":
            return "a person said no"
        case "timed_out":
            return "nobody answered in time"
        case _:
            assert_never(answer.verdict)


async def _answer_within(wait_seconds: float | None, asker: Asker, question: Question) -> Answer:
    """Return what was said in time, or as it ended: whoever said it then was told that it counts."""
    asked = asyncio.ensure_future(asker.ask(question))
    try:
        await asyncio.wait({asked}, timeout=wait_seconds)
    finally:
        await _withdraw(asked)
    try:
        return asked.result()
    except (TimeoutError, asyncio.CancelledError):
        return Answer(verdict="timed_out", by="nobody", via="clock")


class FirstAnswer:
    """Ask in several places at once; the first answer counts, and the others are no longer asked.

    A place whose time is over has not answered: the others go on until theirs is. Of two at once a no counts,
    and a place that has taken an answer by the time that it is no longer asked still gives it.

    Args:
        askers: The places.
    """

    def __init__(self, *askers: Asker) -> None:
        self._askers = askers

    async def ask(self, question: Question) -> Answer:
        """Return the first answer; `timed_out` when no place has one."""
        asked = [asyncio.ensure_future(asker.ask(question)) for asker in self._askers]
        waiting = set(asked)
        try:
            while waiting and not any(map(_has_said, asked)):
                ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()  # an asker that broke is no answer, and no silence
        except asyncio.CancelledError:
            await _withdraw(*asked)
            if not any(map(_has_said, asked)):
                raise
        finally:
            await _withdraw(*asked)
        said = [task.result() for task in asked if _has_said(task)]
        return min(said or [task.result() for task in asked], key=_is_approval)


async def _withdraw(*asked: asyncio.Future[Answer]) -> None:
    """Ask no longer. What somebody had said already is kept: an asker gives it though it is cancelled."""
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


def _has_said(asked: asyncio.Future[Answer]) -> bool:
    if not asked.done() or asked.cancelled() or asked.exception() is not None:
        return False
    return asked.result().verdict != "timed_out"


def _is_approval(answer: Answer) -> bool:
    return answer.verdict == "approved"
