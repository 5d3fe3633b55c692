"""Write the gate's steps into the ledger: intent before the act, outcome before the model sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from audit import event
from audit.fields import Commitment, FileUse
from audit.fields import Reason as WrittenReason
from audit.fields import Rule as WrittenRule
from cli_tools.action import Action, LineProposal, Proposal, ToolProposal, WordsProposal
from cli_tools.command import MAXIMUM_WORDS
from cli_tools.run.ends import end_of
from policies.request import Allowed, Decision, Denied, NeedsApproval, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from audit.journal import Journal
    from audit.redact import Redactor
    from cli_tools.command import FileTouched, Outcome
    from cli_tools.errors import ActionError
    from cli_tools.observation import Observation
    from cli_tools.run.jobs import Job
    from sandbox.errors import OperationError

_SHOWN_CHARACTERS: Final = 2000


class Record:
    """Number a session's actions and write them down, each line durable when its method returns.

    What a program is started with, bounds that were reached, and an outcome that is written `ahead` are
    durable with the next entry that is.

    Args:
        journal: The session's ledger.
        session: The session's id.
        monotonic: A clock in seconds, for durations.
    """

    def __init__(
        self, journal: Journal, session: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._journal = journal
        self._session = session
        self._monotonic = monotonic
        self._number = 0
        self._started: dict[str, float] = {}
        self.actions = 0
        self.denials = 0
        self.turn = 0
        """The model's turn, set by the loop."""
        self.call = ""
        """The model's id of the call, set by the loop."""

    def next(self) -> str:
        """Return the number of the next action."""
        self._number += 1
        self.actions += 1
        return f"{self._session}/{self._number}"

    async def unparsed(
        self,
        number: str,
        proposal: Proposal | WordsProposal,
        error: ActionError,
        *,
        parent: str | None = None,
    ) -> None:
        """Write down a proposal that means no command: it was refused, and is no denial by the policy."""
        argv = _words(proposal)
        await self._journal.record(
            event.ActionIntended(
                action=number,
                argv=tuple(word[:_SHOWN_CHARACTERS] for word in argv),
                command="",
                arguments={},
                verdict="denied",
                reasons=(WrittenReason(code=error.code, message=error.message, hint=error.hint),),
                **self._asked(parent),
            )
        )

    async def intent(
        self, number: str, action: Action, decision: Decision, *, parent: str | None = None
    ) -> None:
        """Write down what is about to happen and what was decided.

        Args:
            number: The action's.
            action: What.
            decision: Whether it may.
            parent: The action whose program asked, empty when that is not known; None when no program did.
        """
        verdict = _VERDICTS[type(decision)]
        if isinstance(decision, Denied):
            self.denials += 1
        else:
            self._started[number] = self._monotonic()  # before it is durable: who asked may go meanwhile
        await self._journal.record(
            event.ActionIntended(
                action=number,
                argv=action.argv,
                command=action.command.name,
                arguments=_values(action.parameters),
                verdict=verdict,
                reasons=_reasons(decision),
                **self._asked(parent),
            )
        )

    async def started(self, number: str, action: Action) -> None:
        """Write down that a program is about to be started, without waiting; its intent is durable."""
        argv = action.command.started(action.parameters)
        if not argv:
            return
        folder = str(action.parameters.get("cwd") or ".")
        await self._journal.record_lazily(event.ProcessStarted(action=number, argv=argv, folder=folder))

    async def program_ended(self, job: Job) -> None:
        """Write down how a program in the background came out."""
        if job.result is not None and job.result.timed_out:
            bound, elapsed = int(job.allowed_seconds * 1000), int(job.seconds * 1000)
            await self._limit(job.action, "action.time", bound=bound, observed=elapsed, unit="ms")
        if job.result is not None and (dropped := job.result.truncated_bytes):
            kept = job.total_bytes
            await self._limit(job.action, "action.output", bound=kept, observed=kept + dropped, unit="bytes")
        await self._journal.record(end_of(job))

    async def calls_spent(self, number: str, command: str, *, bound: int, observed: int) -> None:
        """Write down that a command has been called as often as the policy lets it be."""
        limit = f"calls of {command}"
        await self._limit(number, limit, bound=bound, observed=observed, unit="calls")

    async def words_spent(self, *, bound: int, observed: int) -> None:
        """Write down that programs have called commands with as many words as they may."""
        limit = "words of commands by programs"
        await self._limit("", limit, bound=bound, observed=observed, unit="bytes")

    async def answer(self, number: str, decision: Allowed | Denied) -> None:
        """Write down that an action which needed a person was not allowed after all."""
        if isinstance(decision, Denied):
            self.denials += 1
            why = "; ".join(reason.message for reason in decision.reasons)
            await self._journal.record(self._finished(number, "denied", detail=why))

    async def cancelled(self, number: str) -> None:
        """Write down that the program that had asked did not wait, unless its action's end is told."""
        if number not in self._started:
            return
        gone = "the program that called it has gone"
        await self._journal.record(self._finished(number, "cancelled", detail=gone))

    async def failure(self, number: str, error: ActionError | OperationError, *, ahead: bool = False) -> None:
        """Write down that an allowed action failed before it came to an outcome."""
        why = self.redactor.at_cuts(self.redactor.text(f"{error.code}: {error.message}"))
        await self._end(self._finished(number, "failed", detail=why), ahead=ahead)

    @property
    def redactor(self) -> Redactor:
        """What replaces the session's secrets in all that is written and shown."""
        return self._journal.redactor

    async def outcome(self, number: str, outcome: Outcome, seen: Observation, *, ahead: bool = False) -> None:
        """Write down an outcome, with what the model is about to see as a commitment.

        Args:
            number: The action's.
            outcome: What came of it.
            seen: What is shown of it.
            ahead: Whether nobody is shown it before the next entry is durable.
        """
        kind: Literal["ok", "failed", "timed_out"] = "ok" if outcome.exit_code == 0 else "failed"
        await self._limits(number, outcome)
        finished = self._finished(
            number,
            "timed_out" if outcome.timed_out else kind,
            outcome=outcome,
            body=self._journal.commit(seen.text.encode("utf-8", "surrogateescape")),
            detail=outcome.note,
        )
        await self._end(finished, ahead=ahead)

    async def _end(self, finished: event.ActionFinished, *, ahead: bool) -> None:
        if ahead:
            self._journal.record_ahead(finished)
        else:
            await self._journal.record(finished)

    async def _limits(self, number: str, outcome: Outcome) -> None:
        """Write down the bounds that a program reached, without waiting: its outcome comes after them."""
        if outcome.timed_out:
            bound = int(outcome.allowed_seconds * 1000)
            elapsed = self._monotonic() - self._started.get(number, self._monotonic())
            await self._limit(number, "action.time", bound=bound, observed=int(elapsed * 1000), unit="ms")
        if outcome.truncated_bytes:
            kept = len(outcome.output) + len(outcome.errors)
            made = kept + outcome.truncated_bytes
            await self._limit(number, "action.output", bound=kept, observed=made, unit="bytes")

    async def _limit(self, number: str, limit: str, *, bound: int, observed: int, unit: str) -> None:
        await self._journal.record_lazily(
            event.LimitHit(limit=limit, bound=bound, observed=observed, unit=unit, action=number)
        )

    def _finished(
        self,
        number: str,
        kind: Literal["ok", "failed", "denied", "timed_out", "cancelled"],
        *,
        outcome: Outcome | None = None,
        body: Commitment | None = None,
        detail: str = "",
    ) -> event.ActionFinished:
        elapsed = self._monotonic() - self._started.pop(number, self._monotonic())
        return event.ActionFinished(
            action=number,
            outcome=kind,
            exit_code=outcome.exit_code if outcome else None,
            duration_ms=int(elapsed * 1000),
            output_bytes=len(outcome.output) + len(outcome.errors) if outcome else 0,
            truncated_bytes=outcome.truncated_bytes if outcome else 0,
            files=tuple(_file_use(touched) for touched in outcome.files) if outcome else (),
            body=body,
            detail=detail,
        )

    def _asked(self, parent: str | None) -> _Asked:
        if parent is None:
            return _Asked(turn=self.turn, call=self.call, via="model", parent="")
        return _Asked(turn=0, call="", via="guest", parent=parent)


class _Asked(TypedDict):
    """Who asked for an action."""

    turn: int
    call: str
    via: str
    parent: str


_VERDICTS: Final[Mapping[type, Literal["allowed", "denied", "needs_approval"]]] = {
    Allowed: "allowed",
    Denied: "denied",
    NeedsApproval: "needs_approval",
}


def _words(proposal: Proposal | WordsProposal) -> tuple[str, ...]:
    match proposal:
        case LineProposal():
            return (proposal.line,)
        case WordsProposal():
            return proposal.words[:MAXIMUM_WORDS]
        case ToolProposal():
            return (proposal.tool, proposal.arguments)


def _values(parameters: Mapping[str, object]) -> dict[str, object]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in parameters.items()
        if value is not None
    }


def _reasons(decision: Decision) -> tuple[WrittenReason, ...]:
    reasons = () if isinstance(decision, Allowed) else decision.reasons
    return tuple(written(reason) for reason in reasons)


def written(reason: Reason) -> WrittenReason:
    """Return a reason in the ledger's form."""
    rule = reason.rule
    return WrittenReason(
        code=str(reason.code),
        message=reason.message,
        hint=reason.hint,
        rule=WrittenRule(origin=rule.origin, line=rule.line, column=rule.column) if rule else None,
    )


def _file_use(touched: FileTouched) -> FileUse:
    written = "changed" if touched.sha256_before else "created"
    return FileUse(
        path=touched.path,
        access=written if touched.access == "write" else touched.access,
        moved_to=touched.moved_to or None,
        sha256=touched.sha256_after or None,
        sha256_before=touched.sha256_before or None,
    )
