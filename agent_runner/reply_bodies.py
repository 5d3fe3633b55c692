"""Keep what came beside a reply's words, as the ledger has it: contents of its calls, and its thoughts."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import orjson

from agent_runner.backends.backend import Thought
from agent_runner.backends.thoughts import MEMBERS
from audit.errors import BadEventError
from cli_tools.action import LineProposal
from cli_tools.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.backends.backend import Reply
    from audit.redact import Redactor

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What came beside a reply's words."""

    bodies: Mapping[str, bytes] = field(default_factory=dict)
    """The contents that stand beside command lines, by their call's place."""
    reasoning: str = ""
    reasoning_by: str = ""
    thoughts: tuple[Thought, ...] = ()


def kept_beside(reply: Reply, redactor: Redactor) -> bytes:
    """Return what is kept of a reply beside its words; empty where there is nothing.

    A tool call has its content inside. The contents of command lines are redacted already; where their base64
    looks like a secret's all the same, its characters stand apart, which readers pass over.

    Args:
        reply: What the model said, redacted.
        redactor: Goes over it once more, as over all that is kept.
    """
    contents = {
        str(place): base64.b64encode(call.proposal.body).decode()
        for place, call in enumerate(reply.calls)
        if isinstance(call.proposal, LineProposal) and call.proposal.body is not None
    }
    thoughts = [
        {"by": each.by, "sealed": each.sealed, "characters": each.characters, "calls": each.calls}
        for each in reply.thoughts
    ]
    if not (contents or reply.reasoning or thoughts):
        return b""
    beside: dict[str, object] = {"bodies": contents, "reasoning": reply.reasoning, "thoughts": thoughts}
    if reply.reasoning:
        beside["reasoning_by"] = reply.reasoning_by
    kept = orjson.dumps({name: each for name, each in beside.items() if each or name == "bodies"})
    if redactor.raw(kept) == kept:
        return kept
    apart = {place: " ".join(content) for place, content in contents.items()}
    return orjson.dumps({**beside, "bodies": apart})


def read_beside(seq: int, raw: bytes) -> Beside:
    """Return what came beside a reply's words.

    Args:
        seq: The entry's number, for the message.
        raw: The body to which the entry commits.

    Raises:
        BadEventError: When no writer wrote it so.
    """
    try:
        kept = orjson.loads(raw)
        return Beside(
            bodies={place: base64.b64decode(body) for place, body in kept["bodies"].items()},
            reasoning=_checked(kept.get("reasoning", ""), str),
            reasoning_by=_checked(kept.get("reasoning_by", ""), str),
            thoughts=tuple(map(_thought, kept.get("thoughts", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadEventError(f"what the model wrote at entry {seq} cannot be read back") from error


def _thought(kept: Mapping[str, object]) -> Thought:
    sealed = _checked(kept["sealed"], str)
    block = dict(_checked(read_json(sealed), dict))
    known = MEMBERS[block.pop("type")]
    if not all(name in known and isinstance(each, str) for name, each in block.items()):
        raise ValueError("no server seals a thought so")
    return Thought(
        by=_checked(kept["by"], str),
        sealed=sealed,
        characters=_count(kept["characters"]),
        calls=_count(kept["calls"]),
    )


def _count(value: object) -> int:
    if isinstance(value, bool) or _checked(value, int) < 0:
        raise ValueError(f"`{value}` stands where a count is kept")
    return _checked(value, int)


def _checked(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} stands where a {kind.__name__} is kept")
    return value
