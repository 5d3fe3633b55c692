"""Bound what a model said before anything else reads it: its words and thoughts, its calls and their ids.

A model server may be hostile or broken. What is cut says so in its own place, so that ledger and model read
the same; whether a call means anything is for the gate to say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runner.backends.backend import Call, Reply
from agent_runner.spelling import with_bytes
from cli_tools.action import LineProposal, Proposal, ToolProposal

TEXT_CHARACTERS: Final = 256 * 1024
ARGUMENT_CHARACTERS: Final = 4 * 1024 * 1024
BODY_BYTES: Final = 16 * 1024 * 1024
NAME_CHARACTERS: Final = 256
NO_NAME: Final = "(no name)"
"""A call that names no tool; in the ledger, what has no name is a command line."""
MOST_CALLS: Final = 64
"""Calls of one reply that are taken; the rest is named and left out."""


def bounded(reply: Reply) -> Reply:
    """Return a reply that fits; one that already does is returned as it is."""
    text = _text(reply.text, TEXT_CHARACTERS)
    left_out = len(reply.calls) - MOST_CALLS
    if left_out > 0:
        text = f"{text}\n[{left_out} more calls were left out: at most {MOST_CALLS} of a reply are taken]"
    calls = _distinct(tuple(map(_call, reply.calls[:MOST_CALLS])))
    reasoning = _text(reply.reasoning, TEXT_CHARACTERS)
    same = (text, calls, reasoning) == (reply.text, reply.calls, reply.reasoning)
    return reply if same else replace(reply, text=text, calls=calls, reasoning=reasoning)


def is_cut(proposal: Proposal) -> bool:
    """Say whether `bounded` leaves out any of a proposal."""
    if isinstance(proposal, LineProposal):
        return len(with_bytes(proposal.line)) > ARGUMENT_CHARACTERS or len(proposal.body or b"") > BODY_BYTES
    is_long = len(with_bytes(proposal.arguments)) > ARGUMENT_CHARACTERS
    return is_long or len(with_bytes(proposal.tool)) > NAME_CHARACTERS


def _call(call: Call) -> Call:
    call_id, proposal = _text(call.call_id, NAME_CHARACTERS), _proposal(call.proposal)
    same = call_id is call.call_id and proposal is call.proposal
    return call if same else Call(call_id=call_id, proposal=proposal)


def _proposal(proposal: Proposal) -> Proposal:
    if isinstance(proposal, LineProposal):
        line, body = _text(proposal.line, ARGUMENT_CHARACTERS), proposal.body
        if body is not None and len(body) > BODY_BYTES:
            body = body[: BODY_BYTES + 1]  # the gate refuses it, and says why
        same = line is proposal.line and body is proposal.body
        return proposal if same else LineProposal(line=line, body=body)
    arguments = proposal.arguments
    if len(arguments) > ARGUMENT_CHARACTERS:
        # Half an object would be told to be bad JSON; a text is refused with its words, never carried out.
        arguments = f'"{len(arguments)} characters of arguments, at most {ARGUMENT_CHARACTERS} are read"'
    tool, arguments = _text(proposal.tool, NAME_CHARACTERS) or NO_NAME, _text(arguments, ARGUMENT_CHARACTERS)
    same = tool is proposal.tool and arguments is proposal.arguments
    return proposal if same else ToolProposal(tool=tool, arguments=arguments)


def _distinct(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """Give a name to calls that have none or share one: providers refuse a conversation with such."""
    seen: set[str] = set()
    named = []
    for number, call in enumerate(calls, start=1):
        call_id = call.call_id
        while not call_id or call_id in seen:
            call_id = f"{call_id}.{number}"
        seen.add(call_id)
        named.append(call if call_id == call.call_id else replace(call, call_id=call_id))
    return tuple(named)


def _text(text: str, limit: int) -> str:
    """Return text that has bytes: half of a UTF-16 pair becomes its escape; what is too long is cut."""
    text = with_bytes(text)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[{len(text) - limit} more characters were left out]"
