"""Tell a session from its ledger to whoever looks on, as its own runner would: each entry once, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from agent_runner.backends.backend import Call, Reply
from agent_runner.host_log import HostLogLook, stamp_of
from audit import event
from audit.errors import AuditError, BrokenLedgerError
from audit.openings import Gone
from audit.reader import SessionReader
from audit.summary import spelled_argv
from cli_tools.action import LineProposal, Proposal, ToolProposal
from cli_tools.observation import Observation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from audit.chain import Entry
    from audit.fields import Commitment, Event, ToolCall
    from cli_tools.observation import Kind

WITHHELD: Final = "withheld: the ledger holds a commitment alone"
LOST: Final = "gone: nothing says who removed it"
CHANGED: Final = "changed since it was written"


@dataclass(frozen=True, slots=True)
class _Missing:
    """Stands for a body that is not there, or not as it was."""

    why: str


class Viewer(Protocol):
    """Is told what happened; a `transcript.Watcher` that hears of more. Nothing it is given is escaped."""

    def said(self, turn: int, reply: Reply) -> None:
        """Take note of a reply."""
        ...

    def saw(self, observation: Observation) -> None:
        """Take note of what came of the next call of the last reply."""
        ...

    def heard(self, title: str, text: str) -> None:
        """Take note of what the model was told."""
        ...

    def noted(self, mark: str, text: str, reasons: Sequence[str] = ()) -> None:
        """Take note of anything else."""
        ...


class Retelling:
    """Tell one session's entries to a viewer.

    Args:
        state: The state folder.
        session: The whole id.
        viewer: Who looks on.

    Attributes:
        reader: Reads the ledger.
        is_whole: Whether all that was told was as the ledger commits to it; what was withheld is.
    """

    def __init__(self, state: Path, session: str, viewer: Viewer) -> None:
        self._state = state
        self._viewer = viewer
        self._host_log = HostLogLook(state)
        self._index = self._host_log.index()  # of which a look at a body needs no newer one
        self._table: tuple[int, ...] = ()
        self.reader = SessionReader(state, session, index=self._index)
        self.is_whole = True
        self._seq = 0
        self._intended: dict[str, event.ActionIntended] = {}
        self._model: event.ActionIntended | None = None
        self._has_task = False

    def take(self, entry: Entry) -> Event | None:
        """Tell the next entry, and return its event; None where its body is gone."""
        self._seq = entry.seq
        try:
            happened = self._event(entry)
        except AuditError as error:
            self.is_whole &= not isinstance(error, BrokenLedgerError)
            self._viewer.noted("?", f"entry {entry.seq}, {entry.type}: {error}")
            return None
        self._tell(happened)
        return happened

    def _tell(self, happened: Event) -> None:
        match happened:
            case event.SessionOpened():
                self._viewer.noted("session", f"{happened.session}: {happened.grant}; model {happened.model}")
            case event.MessageAdded():
                self._message(happened)
            case event.ModelAnswered():
                self._reply(happened)
            case event.ActionIntended():
                self._intent(happened)
            case event.ActionFinished():
                self._outcome(happened)
            case _:
                self._beside(happened)

    def _beside(self, happened: Event) -> None:
        note = self._viewer.noted
        match happened:
            case event.ModelFailed(error=error, will_retry=again):
                note("silent", f"{error}; {'it is asked again' if again else 'given up'}")
            case event.ApprovalRequested(action=action):
                asked = self._intended.get(action)
                session = self.reader.session_id
                hint = f"`pairlock approve {session}` shows it, and how to answer"
                note("asks", spelled_argv(asked.argv) if asked else action, [hint])
            case event.ApprovalAnswered(action=action, answer=answer, by=by, via=via):
                if answer != "approved":
                    self._intended.pop(action, None)
                told = "nobody answered in time" if answer == "timed_out" else f"{answer} by {by} via {via}"
                note("answer", told)
            case event.SessionDelegated(child=child, grant=grant):
                note("below", f"session {child}: {grant}; `pairlock attach {child}` shows it")
            case event.LimitHit():
                told = f"{happened.limit}: {happened.observed} of {happened.bound} {happened.unit}"
                note("limit", told)
            case event.SessionRecovered():
                note("resumed", "another runner goes on")
            case event.SessionClosed(status=status, reason=reason):
                note("ended", status if reason in ("", status) else f"{status}: {reason}")
            case _:
                pass  # what sandbox, gate and journal tell is no part of what a session's own view shows

    def _message(self, added: event.MessageAdded) -> None:
        text = self._text(added.content)
        if added.role == "tool":
            is_denied = text.startswith("denied") if isinstance(text, str) else self._was_denied()
            self._told(text, "denied" if is_denied else "error")
        elif added.role == "user":
            title = "told the model" if self._has_task else "task"
            self._has_task = True
            if isinstance(text, _Missing):
                self._viewer.noted(title, text.why)
            else:
                self._viewer.heard(title, text)

    def _reply(self, answered: event.ModelAnswered) -> None:
        text = "" if answered.text is None else self._text(answered.text)
        calls = tuple(Call(call_id=call.call, proposal=_proposal(call)) for call in answered.tool_calls)
        said = "" if isinstance(text, _Missing) else text
        self._viewer.said(answered.turn, Reply(text=said, calls=calls))
        if isinstance(text, _Missing):
            self._viewer.noted("said", text.why)

    def _intent(self, intended: event.ActionIntended) -> None:
        if intended.verdict != "denied":  # of which no outcome comes
            self._intended[intended.action] = intended
        if intended.via == "model":
            self._model = intended
        elif intended.verdict == "denied":
            reasons = [f"denied ({reason.code}): {reason.message}" for reason in intended.reasons]
            self._viewer.noted("denied", _asked(intended), reasons)
        elif intended.via == "person":
            self._viewer.noted("command", spelled_argv(intended.argv))

    def _outcome(self, finished: event.ActionFinished) -> None:
        intended = self._intended.pop(finished.action, None)
        if self._model is not None and self._model.action == finished.action:
            if finished.body is not None:
                self._told(self._text(finished.body), "done")
        elif intended is not None:
            code = "" if finished.exit_code is None else f", exit code {finished.exit_code}"
            mark = "ran" if finished.outcome == "ok" else finished.outcome.replace("_", " ")
            self._viewer.noted(mark, f"{_asked(intended)}{code}")

    def _told(self, text: str | _Missing, kind: Kind) -> None:
        self._viewer.saw(Observation(kind=kind, text=text.why if isinstance(text, _Missing) else text))
        self._model = None

    def _was_denied(self) -> bool:
        return self._model is not None and self._model.verdict == "denied"

    def _event(self, entry: Entry) -> Event:
        try:
            return self.reader.event(entry)
        except AuditError:
            if not self._read_anew():
                raise
            return self.reader.event(entry)

    def _text(self, commitment: Commitment) -> str | _Missing:
        """Return a body that is text, or why there is none; one that was changed is told of."""
        try:
            value = self.reader.value(commitment)
            if isinstance(value, Gone) and self._read_anew():
                value = self.reader.value(commitment)
        except BrokenLedgerError as error:
            self.is_whole = False
            self._viewer.noted("?", f"entry {self._seq}: {error}")
            return _Missing(CHANGED)
        if not isinstance(value, Gone):
            return value.decode("utf-8", "surrogateescape")
        withheld = self._host_log.index().session(self.reader.session_id).withheld
        return _Missing(WITHHELD if value.never_kept or value.commitment in withheld else LOST)

    def _read_anew(self) -> bool:
        """Look again at what stands behind commitments, which a reader does once; tell whether it changed."""
        table = stamp_of(self.reader.files.openings)
        if table == self._table:
            return False
        self._table = table
        self.reader = SessionReader(self._state, self.reader.session_id, index=self._index)
        return True


def _proposal(call: ToolCall) -> Proposal:
    if call.name:
        return ToolProposal(tool=call.name, arguments=call.arguments)
    return LineProposal(line=call.arguments)


def _asked(intended: event.ActionIntended) -> str:
    who = "a program inside" if intended.via == "guest" else intended.via
    return f"{spelled_argv(intended.argv)} (asked by {who})"
