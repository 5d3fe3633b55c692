"""Estimate what a model's server does not count: four characters are a token, and a picture has its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import ModelMessage, UserMessage
from agent_runner.backends.media import TOKENS
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_runner.backends.backend import Message
    from cli_tools.action import Proposal
    from cli_tools.schema import Tool

_CHARACTERS_PER_TOKEN: Final = 4


def estimated(messages: Iterable[Message], tools: Iterable[Tool]) -> int:
    """Return the tokens that a question may have: what a model's server would count is only known to it."""
    offered = sum(len(tool.name) + len(tool.description) + len(json.dumps(tool.parameters)) for tool in tools)
    return tokens(sum(map(_characters, messages)) + offered)


def tokens(characters: int) -> int:
    """Return a token for every four characters, the last of them begun."""
    return -(-characters // _CHARACTERS_PER_TOKEN)


def _characters(message: Message) -> int:
    if isinstance(message, UserMessage):
        return len(message.text) + len(message.media) * TOKENS * _CHARACTERS_PER_TOKEN
    if not isinstance(message, ModelMessage):
        return len(message.text)
    reply = message.reply
    return len(reply.text) + sum(_called(call.proposal) for call in reply.calls)


def _called(proposal: Proposal) -> int:
    if isinstance(proposal, ToolProposal):
        return len(proposal.tool) + len(proposal.arguments)
    return len(proposal.line) + len(proposal.body or b"")
