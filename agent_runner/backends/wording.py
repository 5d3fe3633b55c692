"""Write what a model may have made up, so that a server accepts it when it is sent back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import Message, ModelMessage
from cli_tools.action import LineProposal, Proposal
from cli_tools.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
MAXIMUM_NAME: Final = 64
NOTHING: Final = "(nothing)"
"""Stands where there is no text: several servers refuse a message that says nothing and calls nothing."""


def safe_text(text: str) -> str:
    """Return text that can be encoded: lone surrogates, which no UTF-8 has, are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def called_name(proposal: Proposal) -> str:
    """Return a call's tool as both APIs accept it: at most 64 of letters, digits, `_` and `-`."""
    raw = "_".join(proposal.line.split()[:2]) if isinstance(proposal, LineProposal) else proposal.tool
    return _NAME.sub("_", raw[:MAXIMUM_NAME]) or "unnamed"


def called_arguments(proposal: Proposal) -> dict[str, object]:
    """Return a call's arguments as an object.

    Servers read them again when they come back in the conversation, and refuse the whole request when they
    are not JSON: vLLM, SGLang and llama.cpp in their chat templates, Anthropic by its schema.
    """
    if isinstance(proposal, LineProposal):
        return {"line": safe_text(proposal.line)}
    try:
        given = read_json(proposal.arguments or "{}")
        json.dumps(given, ensure_ascii=False).encode()  # half of a UTF-16 pair has no bytes
    except ValueError:
        given = None
    return given if isinstance(given, dict) else {"not_an_object": safe_text(proposal.arguments)}


def begins_object(arguments: object) -> bool:
    """Say whether a piece of arguments looks like the beginning of some, or is an object itself."""
    return isinstance(arguments, dict) or (isinstance(arguments, str) and arguments.lstrip().startswith("{"))


def is_object(text: str) -> bool:
    """Say whether arguments are whole."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def known_ids(messages: Iterable[Message]) -> set[str]:
    """Return the ids of all calls of a conversation."""
    replies = (message.reply for message in messages if isinstance(message, ModelMessage))
    return {call.call_id for reply in replies for call in reply.calls}


def unique_ids(given: Sequence[str], taken: set[str]) -> tuple[str, ...]:
    """Return an id for each call: the server's own where it is usable and new in the session, else ours.

    Servers leave ids out, start again from `call_0` in every reply, or repeat one within a reply. Ours have
    nine letters and digits, which is all that some chat templates (Mistral's) let pass.
    """
    taken = set(taken)
    found: list[str] = []
    number = len(taken)
    for identifier in given:
        fresh = identifier
        while not _CALL_ID.fullmatch(fresh) or fresh in taken:
            number += 1
            fresh = f"p{number:08d}"
        taken.add(fresh)
        found.append(fresh)
    return tuple(found)
