"""Spell what is said as the ledger keeps it, and as the digest of a conversation is made of it. Pure."""

from __future__ import annotations

import hashlib
from typing import assert_never

from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    SystemMessage,
    UserMessage,
)
from audit.fields import ToolCall
from cli_tools.action import LineProposal, Proposal


def tool_call(call_id: str, proposal: Proposal) -> ToolCall:
    """Return a call as the ledger keeps it; a command line has no name."""
    if isinstance(proposal, LineProposal):
        return ToolCall(call=call_id, name="", arguments=proposal.line)
    return ToolCall(call=call_id, name=proposal.tool, arguments=proposal.arguments)


def raw(text: str) -> bytes:
    """Return a text's bytes; half of a UTF-16 pair, which has none, becomes its escape."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def with_bytes(text: str) -> str:
    """Return a text that has bytes: half of a UTF-16 pair becomes its escape; mostly it is the same one."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def plain(message: Message) -> list[object]:
    """Return a message as its digest is made of it."""
    match message:
        case SystemMessage(text=text):
            return ["system", with_bytes(text)]
        case UserMessage(text=text, media=media):
            return ["user", with_bytes(text), *(each.told for each in media)]
        case ModelMessage(reply=reply):
            return [
                "model",
                with_bytes(reply.text),
                [[with_bytes(call.call_id), *_words(call.proposal)] for call in reply.calls],
            ]
        case ObservationMessage(call_id=call_id, text=text):
            return ["observation", with_bytes(call_id), with_bytes(text)]
        case _:
            assert_never(message)


def _words(proposal: Proposal) -> list[str | None]:
    if isinstance(proposal, LineProposal):
        body = None if proposal.body is None else hashlib.sha256(proposal.body).hexdigest()
        return [with_bytes(proposal.line), body]
    return [with_bytes(proposal.tool), with_bytes(proposal.arguments)]
