"""Fold a session's ledger into what it was when its runner left it. It only reads."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.backends.backend import (
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.background import Background
from agent_runner.budget_limits import NOTHING, BudgetLimits, parse_budget
from agent_runner.budget_state import warned_of
from agent_runner.compaction import compacted
from agent_runner.errors import InvalidInputError
from agent_runner.fold_account import BEGINS, Account
from agent_runner.fold_bodies import Bodies
from agent_runner.past import Past, Unsettled, memory_ended
from agent_runner.repeating import Repeating
from agent_runner.traffic import Traffic
from audit import event
from audit.errors import BrokenLedgerError
from audit.reader import SessionReader
from cli_tools.action import LineProposal, Proposal, ToolProposal
from cli_tools.neutral import neutralise

if TYPE_CHECKING:
    from pathlib import Path

    from audit.chain import Entry
    from audit.fields import Event, Reason, ToolCall

BUDGET_ADDED: Final = "budget-added"
"""Code of the entry by which a person adds to a budget; its message is what `parse_budget` reads."""
COMMAND: Final = "exec"
"""What the ledger calls a command that a person ran in a session: somebody else's agent."""
UNKNOWN: Final = (
    "unknown: the runner was stopped while this action was under way, so it may have been done, in part or "
    "not at all\nhint: look at what it was to change before you do it again"
)
NOT_DONE: Final = (
    "not done: nobody knows what came of an earlier call of the same reply\nhint: look, then ask again for "
    "what is still wanted"
)


def read_past(state: Path, session: str, *, conversation: bool = True) -> Past:
    """Return what a session has come to, every entry and every body verified on the way.

    Args:
        state: The state folder.
        session: The session's id.
        conversation: Whether what was said is wanted; else its texts are empty, and no body is missed.

    Raises:
        InvalidInputError: When the session ended before it began.
        audit.errors.BrokenLedgerError: When the log does not hold, or a body of the conversation was
            withheld; the message says which.
    """
    reader = SessionReader(state, session)
    fold = Folding(reader, Bodies(reader, needed=conversation))
    for entry, happened in reader.events():
        fold.take(entry, happened)
    return fold.past()


def read_conversation(state: Path, session: str) -> tuple[Message, ...]:
    """Return everything that was said in a session, each entry verified on the way; nothing is shortened.

    Raises:
        audit.errors.BrokenLedgerError: When the log does not hold, or a body was withheld.
    """
    reader = SessionReader(state, session)
    fold = Folding(reader, Bodies(reader))
    for entry, happened in reader.events():
        if not isinstance(happened, event.TranscriptCompacted):
            fold.take(entry, happened)
    return tuple(fold.messages)


@dataclass
class Folding:
    """What the entries that were taken in have come to."""

    reader: SessionReader
    bodies: Bodies
    opened: event.SessionOpened | None = None
    closed: event.SessionClosed | None = None
    messages: list[Message] = field(default_factory=list)
    calls: deque[Call] = field(default_factory=deque)
    intended: event.ActionIntended | None = None
    unsettled: Unsettled | None = None
    after_unknown: bool = False
    finished: tuple[Literal["done", "failed"], str] | None = None
    added: BudgetLimits = NOTHING
    account: Account = field(default_factory=Account)
    traffic: Traffic = field(default_factory=Traffic)
    allowed: Counter[str] = field(default_factory=Counter)
    children: list[str] = field(default_factory=list)
    staged: bool = False
    asked: dict[str, str] = field(default_factory=dict[str, str])
    background: Background = field(default_factory=Background)
    repeating: Repeating = field(default_factory=Repeating)
    entries: int = 0

    def take(self, entry: Entry, happened: Event) -> None:
        """Take in the next entry."""
        self.entries = entry.seq + 1
        if entry.type in BEGINS:
            self.closed = None
        self.account.tick(entry)
        self.account.time.take(happened)
        self.background.take(happened)
        match happened:
            case event.SessionOpened():
                self.opened = happened
            case event.MessageAdded():
                self._message(entry, happened)
            case event.ModelAnswered():
                self._reply(entry, happened)
            case event.ActionIntended():
                self._intended(happened)
            case event.ApprovalAnswered():
                self._approval(happened)
            case event.ActionFinished():
                self._outcome(entry, happened)
            case _:
                self._about_session(happened)

    def _about_session(self, happened: Event) -> None:
        match happened:
            case event.SafetyNoted(code=code, message=message) if code == BUDGET_ADDED:
                self._more_budget(message)
            case event.EgressOpened() | event.EgressRequested() | event.EgressClosed() | event.LimitHit():
                self.traffic.take(happened)
            case event.TranscriptCompacted(kept_turns=kept, most_characters=most):
                self.messages = compacted(self.messages, kept_turns=kept, most_characters=most)
            case event.SessionDelegated(child=child):
                self.children.append(child)
            case event.SandboxCreated(stage_strategy=strategy):
                self.staged = strategy != "none"
            case event.SessionClosed():
                self.closed = happened
            case _:
                pass  # what the sandbox, the egress gate and the journal tell is no part of the conversation

    def past(self) -> Past:
        """Return it; raises as `read_past` does."""
        if self.opened is None:
            session = self.reader.session_id
            raise InvalidInputError(f"session `{session}` ended before it began", hint="start it again")
        if self.unsettled is not None and not self.unsettled.text:
            self.repeating.forget()  # as the entry will have it by which the model is told
        return Past(
            opened=self.opened,
            closed=self.closed,
            task=self.bodies.text(self.opened.task, "the task"),
            messages=tuple(self.messages),
            calls=tuple(self.calls),
            unsettled=self.unsettled,
            after_unknown=self.after_unknown,
            finished=self.finished,
            used=self.account.used(children=len(self.children)),
            added=self.added,
            totals=self.account.totals(),
            traffic=self.traffic,
            allowed=self.allowed,
            entries=self.entries,
            children=tuple(self.children),
            staged=self.staged,
            background=self.background.without_end,
            repeating=self.repeating,
        )

    def _message(self, entry: Entry, added: event.MessageAdded) -> None:
        text = self.bodies.text(added.content, f"entry {entry.seq}")
        if added.role == "system":
            self.messages.append(SystemMessage(text=text))
        elif added.role == "user":
            self.messages.append(UserMessage(text=text))
            self.account.warned.update(filter(None, [warned_of(text)]))
        else:
            self._answer(entry, text, refused=True)

    def _reply(self, entry: Entry, answered: event.ModelAnswered) -> None:
        beside = self.bodies.beside(entry.seq, answered.raw)
        calls = tuple(
            Call(call_id=call.call, proposal=_proposal(call, beside.bodies.get(str(place))))
            for place, call in enumerate(answered.tool_calls)
        )
        text = self.bodies.text(answered.text, f"entry {entry.seq}") if answered.text else ""
        told = Usage(
            input_tokens=answered.input_tokens,
            output_tokens=answered.output_tokens,
            cached_tokens=answered.cached_tokens,
            cost_micros=answered.cost_micros,
        )
        said = Reply(
            text=text,
            calls=calls,
            usage=told,
            reasoning=beside.reasoning,
            reasoning_by=beside.reasoning_by,
            thoughts=beside.thoughts,
        )
        self.messages.append(ModelMessage(reply=said))
        self.calls = deque(calls)
        self.repeating.take(calls)
        self.after_unknown = False
        self.account.answer(answered)

    def _intended(self, intended: event.ActionIntended) -> None:
        self.account.actions += 1
        if (intended.via, intended.command) == ("person", COMMAND):
            raise memory_ended(self.reader.session_id)
        if intended.via != "model":
            self._by_program(intended)
            return
        self.intended = intended
        if intended.verdict == "denied":
            self.account.denials += bool(intended.command)
            kind = "denied" if intended.command else "error"
            text = "\n".join(_told(kind, reason) for reason in intended.reasons)
            self.unsettled = Unsettled(action=intended.action, text=text)
        elif intended.verdict == "allowed":
            self.allowed[intended.command] += 1
            self.unsettled = Unsettled(action=intended.action, text="")
        # What waits for an approval was not done: without an answer it goes to the gate again.

    def _by_program(self, intended: event.ActionIntended) -> None:
        """Count what a program inside called: no model hears of it, and a rule's `max_calls` does."""
        if intended.verdict == "allowed":
            self.allowed[intended.command] += 1
        elif intended.verdict == "needs_approval":
            self.asked[intended.action] = intended.command
        else:
            self.account.denials += bool(intended.command)

    def _approval(self, answered: event.ApprovalAnswered) -> None:
        if (command := self.asked.pop(answered.action, None)) is not None:
            approved = answered.answer == "approved"
            self.allowed[command] += approved
            self.account.denials += not approved
        if self.intended is None or self.intended.action != answered.action:
            return
        if answered.answer == "approved":
            self.allowed[self.intended.command] += 1
            self.unsettled = Unsettled(action=answered.action, text="")
        else:
            self.account.denials += 1
            self.unsettled = Unsettled(action=answered.action, text="denied: not approved")

    def _outcome(self, entry: Entry, finished: event.ActionFinished) -> None:
        self.account.output_bytes += finished.output_bytes
        if self.intended is None or self.intended.action != finished.action:
            return
        if finished.body is None:
            kind = "error" if finished.outcome == "failed" else finished.outcome
            self.after_unknown = finished.outcome == "unknown"
            if self.after_unknown:
                self.repeating.forget()
            text = UNKNOWN if self.after_unknown else f"{kind}: {neutralise(finished.detail)}"
            self.unsettled = Unsettled(action=finished.action, text=text)
            return
        text = self.bodies.text(finished.body, f"entry {entry.seq}")
        if self.intended.command == "finish":
            status = self.intended.arguments.get("status")
            self.finished = ("done" if status == "done" else "failed", text)
        self._answer(entry, text, refused=False)

    def _answer(self, entry: Entry, text: str, *, refused: bool) -> None:
        if not self.calls:
            raise BrokenLedgerError(
                "an answer stands here to a call that nobody made",
                path=self.reader.files.events,
                seq=entry.seq,
            )
        call_id = self.calls.popleft().call_id
        self.messages.append(ObservationMessage(call_id=call_id, text=text, refused=refused))
        self.unsettled = self.intended = None

    def _more_budget(self, message: str) -> None:
        self.added = self.added.plus(parse_budget(message))
        self.traffic.spent = None
        self.account.warned.clear()


def _proposal(call: ToolCall, body: bytes | None) -> Proposal:
    if call.name:
        return ToolProposal(tool=call.name, arguments=call.arguments)
    return LineProposal(line=call.arguments, body=body)


def _told(kind: str, reason: Reason) -> str:
    """Return a reason as the gate tells it (`cli_tools.observation`)."""
    hint = f"\nhint: {neutralise(reason.hint)}" if reason.hint else ""
    return f"{kind} ({reason.code}): {neutralise(reason.message)}{hint}"
