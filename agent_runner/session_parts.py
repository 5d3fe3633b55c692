"""Make what a session counts, says and asks with: record, conversation, budget, gates. Nothing runs here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.approvals import NobodyApprover, OneAtATime, RecordedApprover
from agent_runner.asking import Asking
from agent_runner.backends.backend import is_priced
from agent_runner.budget import Budget
from agent_runner.budget_limits import limits_of_policy
from agent_runner.compaction import long_characters
from agent_runner.continuing import ContinuedRecord
from agent_runner.gating import Gating
from agent_runner.models import context_tokens
from agent_runner.traffic import Traffic
from agent_runner.transcript import Transcript
from audit.fields import Totals
from cli_tools.record import Record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_runner.past import Past
    from agent_runner.request import SessionRequest, SessionResult
    from audit.journal import Journal
    from sandbox.session import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParts:
    """What one session is made of, beside its ledger and its sandbox."""

    record: Record
    """Numbers its actions and writes them down."""
    transcript: Transcript
    """Its conversation."""
    budget: Budget
    """What it uses, against what it may."""
    asker: OneAtATime
    """Who is asked, by its gate and by its egress gate: one person, who answers one at a time."""
    approver: RecordedApprover
    """The same for its actions, with the entries of question and answer."""
    traffic: Traffic
    """What crossed its egress gates, and those below."""
    gating: Gating
    """Makes its gate."""
    asking: Asking
    """Whom it asks, and what with."""

    def totals(self, journal: Journal, sandbox: Sandbox | None, past: Past | None) -> Totals:
        """Return what the session came to.

        Args:
            journal: Its ledger.
            sandbox: Its sandbox; None when it never stood.
            past: What it had come to, when it went on.
        """
        sandbox_seconds = sandbox.started_seconds + sandbox.busy_seconds if sandbox else 0.0
        before = past.totals if past else Totals()
        return Totals(
            turns=self.budget.turns,
            actions=self.record.actions,
            denials=self.record.denials,
            model_ms=int(self.transcript.model_seconds * 1000),
            sandbox_ms=before.sandbox_ms + int(sandbox_seconds * 1000),
            ledger_ms=before.ledger_ms + journal.spent_ms,
            waiting_ms=before.waiting_ms + int(self.approver.waited_seconds * 1000),
            input_tokens=self.budget.input_tokens,
            output_tokens=self.budget.output_tokens,
            cached_tokens=self.budget.cached_tokens,
            sent_bytes=self.traffic.sent_bytes,
            received_bytes=self.traffic.received_bytes,
        )


def parts_of(  # noqa: PLR0913 - what a session is made from
    request: SessionRequest,
    session: str,
    journal: Journal,
    past: Past | None,
    *,
    require: Callable[[], None],
    start: Callable[[SessionRequest], Awaitable[SessionResult]],
) -> SessionParts:
    """Return a session's parts.

    Args:
        request: What it is started with.
        session: Its id.
        journal: Its ledger, open.
        past: What it has come to, when it goes on.
        require: Raises when its sandbox is gone, while a person or a model is waited for.
        start: Runs a session below it to its end.
    """
    record = Record(journal, session) if past is None else ContinuedRecord(journal, session, past)
    budget = _budget(request, past)
    asker = OneAtATime(NobodyApprover() if request.headless else request.approver, require=require)
    approver = RecordedApprover(journal, record, session, asker)
    traffic = _traffic(request, past)
    budget.watch_egress(traffic.total)
    most = request.long_characters or long_characters(context_tokens(request.model_reference))
    transcript = Transcript(journal, record, request.watcher, long_characters=most)
    gating = Gating(
        request,
        session,
        journal,
        budget,
        record=record,
        approver=approver,
        asker=asker,
        traffic=traffic,
        calls=request.descent.calls if request.descent else Counter(past.allowed if past else ()),
        resumed=past is not None,
    )
    asking = Asking(
        request=request,
        journal=journal,
        transcript=transcript,
        budget=budget,
        gating=gating,
        past=past,
        start=start,
        require=require,
    )
    return SessionParts(
        record=record,
        transcript=transcript,
        budget=budget,
        asker=asker,
        approver=approver,
        traffic=traffic,
        gating=gating,
        asking=asking,
    )


def _budget(request: SessionRequest, past: Past | None) -> Budget:
    limits = limits_of_policy(request.policy)
    return Budget(
        limits if past is None else limits.plus(past.added),
        used=past.used if past else None,
        below=past.below if past else None,
        above=request.descent.budget if request.descent else None,
        priced=is_priced(request.backend),
    )


def _traffic(request: SessionRequest, past: Past | None) -> Traffic:
    if past is not None:
        return past.traffic
    above = request.descent
    return Traffic(above.traffic.pot, above.known) if above else Traffic()
