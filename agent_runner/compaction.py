"""Shorten a conversation that has grown long. Pure: the same messages and bounds give the same ones again.

What the model is told is left out, never rewritten. Nobody writes a summary, so nothing that a page or
a file said can come back in another's voice. The task and the last turns stand whole, unless one turn alone
and its own words are longer than a model takes in: 64 calls at once may read 3 million characters.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from agent_runner.backends.backend import (
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    SystemMessage,
    UserMessage,
)
from cli_tools.action import LineProposal

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG_CHARACTERS: Final = 400_000
"""About 100,000 tokens, at four characters each: from here on a conversation is shortened."""
CHARACTERS_A_TOKEN: Final = 4
CONTEXT_SHARE: Final = 0.75
"""Of what a model takes in, where the operator says how much that is; the rest is for tools and the reply."""
KEPT_TURNS: Final = 8
SHORT_CHARACTERS: Final = 400
"""What is not longer than this stays as it is."""
_CUT_CHARACTERS: Final = 120
"""What the note on a cut output takes; where there is no room for it, a brief one stands for all of it."""
_BRIEF_CHARACTERS: Final = 40


def long_characters(context_tokens: int | None) -> int:
    """Return from which length on a conversation is shortened.

    Args:
        context_tokens: What the model takes in; None where nobody says.
    """
    if context_tokens is None:
        return LONG_CHARACTERS
    return int(context_tokens * CHARACTERS_A_TOKEN * CONTEXT_SHARE)


def length(message: Message) -> int:
    """Return the characters that a message costs in every question."""
    match message:
        case SystemMessage(text=text) | UserMessage(text=text) | ObservationMessage(text=text):
            return len(text)
        case ModelMessage(reply=reply):
            return len(reply.text) + sum(map(_call_length, reply.calls))
        case _:
            assert_never(message)


def compacted(messages: Sequence[Message], *, kept_turns: int, most_characters: int) -> list[Message]:
    """Return a shorter conversation.

    First the outputs and contents of earlier turns are left out, each with its length in its place; where
    that is not enough, whole turns from the oldest on; where the last turns alone are too long, fewer stand
    whole; where the last one with the head is longer by half than all may be, its longest outputs are cut.

    Args:
        messages: The conversation; every call in it is answered.
        kept_turns: The last turns, which stand whole.
        most_characters: How long it may be; the head stands whatever it takes.
    """
    head, turns = _in_turns(messages)
    if not turns:
        return list(messages)
    fewer = range(min(kept_turns, len(turns)), 1, -1)
    kept = next((n for n in fewer if _total([head, *turns[-n:]]) <= most_characters), 1)
    early = [[_shortened(message) for message in turn] for turn in turns[:-kept]]
    room = most_characters - _total([head, *turns[-kept:]])
    dropped = _oldest_beyond([_total([turn]) for turn in early], room)
    note = [UserMessage(text=_left_out(dropped))] if dropped else []
    if kept == 1 and -room > most_characters // 2:
        turns[-1] = _cut(turns[-1], most_characters - _total([head]))
    left = (*early[dropped:], *turns[-kept:])
    return [*head, *note, *(_unsealed(message) for turn in left for message in turn)]


def _oldest_beyond(lengths: Sequence[int], room: int) -> int:
    """Return how many of the first have to go for the rest to fit; all at most."""
    surplus = sum(lengths) - room
    for dropped, each in enumerate(lengths):
        if surplus <= 0:
            return dropped
        surplus -= each
    return len(lengths)


def _in_turns(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """Return what stands before the first reply, and each reply with all that follows it."""
    head: list[Message] = []
    turns: list[list[Message]] = []
    for message in messages:
        if isinstance(message, ModelMessage):
            turns.append([message])
        else:
            (turns[-1] if turns else head).append(message)
    return head, turns


def _total(turns: Sequence[Sequence[Message]]) -> int:
    return sum(length(message) for turn in turns for message in turn)


def _shortened(message: Message) -> Message:
    match message:
        case ObservationMessage(text=text) if len(text) > SHORT_CHARACTERS:
            return replace(message, text=_gap(text))
        case ModelMessage(reply=reply):
            return ModelMessage(reply=replace(reply, calls=tuple(map(_short_call, reply.calls))))
        case _:
            return message


def _unsealed(message: Message) -> Message:
    """Return a message without thoughts: they are sealed to all that stood before them, which has changed."""
    if isinstance(message, ModelMessage) and (message.reply.thoughts or message.reply.reasoning):
        return ModelMessage(reply=replace(message.reply, thoughts=(), reasoning=""))
    return message


def _cut(turn: Sequence[Message], room: int) -> list[Message]:
    """Return a turn with its longest outputs cut, all to one length, so that it fits.

    Of what the model said itself no more than half may be left: small ones talk until they are stopped.
    """
    spoken = [message for message in turn if isinstance(message, ModelMessage)]
    said = list(turn)
    if sum(map(length, spoken)) > room // 2:
        said = [_cut_words(message, room // 2) for message in turn]
    outputs = sorted(len(message.text) for message in said if isinstance(message, ObservationMessage))
    room -= sum(length(message) for message in said if not isinstance(message, ObservationMessage))
    for shorter, output in enumerate(outputs):
        share = room // (len(outputs) - shorter)
        if output > share:
            return [_cut_output(message, share) for message in said]
        room -= output
    return said


def _cut_words(message: Message, most: int) -> Message:
    if not isinstance(message, ModelMessage):
        return message
    calls = message.reply.calls
    each = min(SHORT_CHARACTERS, most // (2 * max(1, len(calls))))
    reply = replace(message.reply, calls=tuple(_short_call(call, each) for call in calls))
    if (left_out := len(reply.text) - max(0, most)) > 0:
        reply = replace(reply, text=f"{reply.text[:-left_out]}\n[{left_out} more characters are left out]")
    return ModelMessage(reply=reply)


def _cut_output(message: Message, most: int) -> Message:
    if not isinstance(message, ObservationMessage) or len(message.text) <= most:
        return message
    if most < _CUT_CHARACTERS:
        note = _brief(message.text)
        return message if len(message.text) <= len(note) else replace(message, text=note)
    left_out = len(message.text) - (most - _CUT_CHARACTERS)
    note = f"[{left_out} more characters are left out: all at once were too much, ask again for less]"
    return replace(message, text=f"{message.text[: most - _CUT_CHARACTERS]}\n{note}")


def _short_call(call: Call, most: int = SHORT_CHARACTERS) -> Call:
    if _call_length(call) <= most:
        return call
    proposal = call.proposal
    if isinstance(proposal, LineProposal):
        line = proposal.line[: max(most, _BRIEF_CHARACTERS)]
        return replace(call, proposal=replace(proposal, line=line, body=None))
    gap = _gap(proposal.arguments) if most >= SHORT_CHARACTERS else _brief(proposal.arguments)
    short = json.dumps({"note": gap})
    if len(short) >= len(proposal.arguments):
        return call
    return replace(call, proposal=replace(proposal, arguments=short))


def _brief(text: str) -> str:
    return f"[{len(text)} left out]"


def _call_length(call: Call) -> int:
    proposal = call.proposal
    if isinstance(proposal, LineProposal):
        return len(proposal.line) + len(proposal.body or b"")
    return len(proposal.arguments)


def _gap(text: str) -> str:
    first = text.partition("\n")[0][:80]
    return f"{first}\n[{len(text)} characters stood here, left out to keep the conversation short: ask again]"


def _left_out(turns: int) -> str:
    return (
        f"note: {turns} earlier turns are left out here to keep the conversation short; what they changed is "
        "as it was left: look before you do something again"
    )
