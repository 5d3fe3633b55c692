"""Let the record go on where an earlier runner of the same session left it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.background import settle_programs
from agent_runner.fold import NOT_DONE, UNKNOWN
from agent_runner.interruption import note_of
from audit import event
from audit.redact import PLACEHOLDER
from cli_tools.action import LineProposal
from cli_tools.record import Record

NOT_MEANT: Final = (
    "not done: it, or another call of the same reply, held a secret, and since the session was interrupted "
    "only what stands for it is left\nhint: ask again for what is still wanted"
)

if TYPE_CHECKING:
    from agent_runner.backends.backend import Call
    from agent_runner.past import Past, Unsettled
    from agent_runner.transcript import Transcript
    from audit.journal import Journal


class ContinuedRecord(Record):
    """Number actions from where they were.

    Args:
        journal: The session's ledger.
        session: The session's id.
        past: What was recorded before.
    """

    def __init__(self, journal: Journal, session: str, past: Past) -> None:
        super().__init__(journal, session)
        self._number = self.actions = past.totals.actions
        self.denials = past.totals.denials


async def go_on(journal: Journal, transcript: Transcript, past: Past) -> None:
    """Take up the conversation where it was left, and remind the model that it was."""
    transcript.go_on(past)
    await settle(journal, transcript, past)
    transcript.show_open()
    if past.used.turns:
        transcript.remind(note_of(past))


async def settle(journal: Journal, transcript: Transcript, past: Past) -> None:
    """Tell the model what came of the action that was under way, or that nobody knows; never do it again.

    INVARIANT: no placeholder is run in a secret's place: of calls that the ledger has so, none is left.

    Programs in the background ended with their runner, and have their end written down. The rest of the
    reply rests on what the action came to, and is left for the model to ask for again.
    """
    await settle_programs(journal, past.background)
    unsettled, call = past.unsettled, transcript.next_call()
    unknown = past.after_unknown
    if unsettled is not None and call is not None:
        unknown = unknown or not unsettled.text
        await _tell(journal, transcript, call, unsettled)
    while unknown and (call := transcript.next_call()) is not None:
        transcript.refused(call, NOT_DONE)
    left = past.calls[len(past.calls) - transcript.calls_left :]
    while any(map(_holds_placeholder, left)) and (call := transcript.next_call()) is not None:
        transcript.refused(call, NOT_MEANT)


def _holds_placeholder(call: Call) -> bool:
    """Say whether a call's words are not all the model's own; the secret may be another one by now."""
    proposal = call.proposal
    if isinstance(proposal, LineProposal):
        words = proposal.line + (proposal.body or b"").decode("utf-8", "replace")
    else:
        words = proposal.tool + proposal.arguments
    return PLACEHOLDER.search(words) is not None


async def _tell(journal: Journal, transcript: Transcript, call: Call, unsettled: Unsettled) -> None:
    if not unsettled.text:
        await journal.record(
            event.ActionFinished(
                action=unsettled.action,
                outcome="unknown",
                exit_code=None,
                duration_ms=0,
                output_bytes=0,
                detail="the runner was stopped before the outcome was recorded",
            )
        )
    transcript.refused(call, unsettled.text or UNKNOWN)
