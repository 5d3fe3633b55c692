"""Take a session's secrets out of a reply before ledger and model have it, so that both keep the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent_runner.backends.backend import Call, Reply
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


def as_meant(reply: Reply, heard: Reply) -> tuple[Call, ...]:
    """Return a redacted reply's calls with what the model meant by them, secrets and all.

    Args:
        reply: What is left of it.
        heard: The same one as it came, bounded alike.
    """
    pairs = zip(reply.calls, heard.calls, strict=True)
    return tuple(Call(call_id=told.call_id, proposal=meant.proposal) for told, meant in pairs)
