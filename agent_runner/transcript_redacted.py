"""Take a session's secrets out of a reply before ledger and model have it, so that both keep the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent_runner.backends.backend import Call, Reply
from agent_runner.hearing import bounded, is_cut
from agent_runner.reply_bodies import kept_beside
from cli_tools.action import LineProposal, Proposal

if TYPE_CHECKING:
    from audit.redact import Redactor


def redacted(reply: Reply, redactor: Redactor) -> Reply:
    """Return a reply without secrets; where none is in it, it is returned as it is.

    Thoughts are sealed as they came, and to their place in the text: of a reply whose text or thoughts hold a
    secret, none is left.

    Args:
        reply: What the model said.
        redactor: Knows the secrets.
    """
    if not redactor.knows:
        return reply
    text, reasoning = redactor.text(reply.text), redactor.text(reply.reasoning)
    sealed = (thought.sealed for thought in reply.thoughts)
    is_whole = (text, reasoning) == (reply.text, reply.reasoning)  # of several thoughts, together
    is_whole = is_whole and all(redactor.text(each) == each for each in sealed)
    return replace(
        reply,
        text=text,
        calls=tuple(_call(call, redactor) for call in reply.calls),
        reasoning=reasoning,
        thoughts=reply.thoughts if is_whole else (),
    )


def _call(call: Call, redactor: Redactor) -> Call:
    return Call(call_id=redactor.text(call.call_id), proposal=_proposal(call.proposal, redactor))


def _proposal(proposal: Proposal, redactor: Redactor) -> Proposal:
    if isinstance(proposal, LineProposal):
        body = proposal.body
        return LineProposal(
            line=redactor.text(proposal.line), body=body if body is None else redactor.raw(body)
        )
    return replace(proposal, tool=redactor.text(proposal.tool), arguments=redactor.text(proposal.arguments))


def without_what_changes(reply: Reply, redactor: Redactor) -> Reply:
    """Return a redacted reply; without its thoughts where the ledger would not keep them to the byte.

    As it spells them, what is no secret may look like one. What was thought stands in what is sealed, too,
    and is kept there alone.
    """
    if reply.thoughts and not reply.reasoning_by:
        reply = replace(reply, reasoning="")
    kept = kept_beside(reply, redactor)
    return reply if redactor.raw(kept) == kept else replace(reply, reasoning="", thoughts=())


def as_meant(heard: Reply, redactor: Redactor) -> tuple[Reply, tuple[Call, ...]]:
    """Return a reply as it is told, redacted and bounded, and its calls as they were meant, secrets and all.

    INVARIANT: a call that is told cut is meant so, too: redacted it may be longer than as it came, and what
    the ledger says was refused would be done.

    Args:
        heard: What the model said.
        redactor: Knows the secrets.
    """
    shown = redacted(heard, redactor)
    told, meant = bounded(shown), bounded(heard)
    calls = zip(told.calls, shown.calls, meant.calls, strict=False)  # of what is shown, some may be left out
    return without_what_changes(told, redactor), tuple(
        Call(call_id=tells.call_id, proposal=(tells if is_cut(shows.proposal) else means).proposal)
        for tells, shows, means in calls
    )
