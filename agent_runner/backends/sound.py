"""Look whether what another package returns is a reply in all its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runner.backends.backend import Call, Reply, Usage
from cli_tools.action import LineProposal, ToolProposal

MOST_TOKENS: Final = 10**12
"""Of any count; no reply has as many."""
MOST_SECONDS: Final = 10**6
"""Until a reply's first piece: eleven days."""


def require_sound(reply: object) -> Reply:
    """Return a reply, without what only a route may say of it.

    Raises:
        TypeError: When it is none, or a part of it is of another type; the message says which.
        ValueError: When it counts what cannot be.
    """
    if not isinstance(reply, Reply):
        raise TypeError(f"it returned a {type(reply).__name__}, expected a `Reply`")
    _require("text", reply.text, str)
    _require("reasoning", reply.reasoning, str)
    _require("stop", reply.stop, str)
    _require("first_token_seconds", reply.first_token_seconds, float, int, type(None))
    first = reply.first_token_seconds
    if first is not None and not 0 <= first <= MOST_SECONDS:  # what is no number is neither
        raise ValueError(f"the reply's `first_token_seconds` is {first!s:.40}, expected 0 to {MOST_SECONDS}")
    _require("calls", reply.calls, tuple)
    _require("usage", reply.usage, Usage)
    for call in reply.calls:
        _require_call(call)
    _require_usage(reply.usage)
    return replace(reply, by="", tried=(), thoughts=(), reasoning_by="")


def _require(name: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"the reply's `{name}` is a {type(value).__name__}, expected a {kinds[0].__name__}")


def _require_call(call: object) -> None:
    if not isinstance(call, Call):
        raise TypeError(f"one of the reply's `calls` is a {type(call).__name__}, expected a `Call`")
    _require("call_id", call.call_id, str)
    proposal: object = call.proposal
    match proposal:
        case LineProposal(line=line, body=body):
            _require("line", line, str)
            _require("body", body, bytes, type(None))
        case ToolProposal(tool=tool, arguments=arguments):
            _require("tool", tool, str)
            _require("arguments", arguments, str)
        case _:
            kind = type(proposal).__name__
            raise TypeError(f"a call's `proposal` is a {kind}, expected a `ToolProposal` or a `LineProposal`")


def _require_usage(usage: Usage) -> None:
    for name in ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "cost_micros"):
        count = getattr(usage, name)
        _require(name, count, int)
        if not 0 <= count <= MOST_TOKENS:
            raise ValueError(f"the reply's `{name}` is {count!s:.40}, expected 0 to {MOST_TOKENS}")
    if usage.cached_tokens + usage.cache_write_tokens > usage.input_tokens:
        raise ValueError(
            "the reply's `cached_tokens` and `cache_write_tokens` are more than its `input_tokens`"
        )
