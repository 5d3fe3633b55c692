"""Find out what a model's server can do, by asking: does it answer, call tools, count, and keep a prefix."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.failure import ModelServerError, one_line
from agent_runner.backends.pieces import members
from agent_runner.backends.wording import called_arguments
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

Standing = Literal["yes", "no", "unknown"]
Served = OpenAIBackend | AnthropicBackend
# Over the 1,024 tokens from which hosted servers keep a prefix.
_SYSTEM: Final = "You are being checked. Do what the user asks, as briefly as you can. " * 110
_WORD: Final = "ready"
_TOOL: Final = Tool(
    name="report",
    description="Report one word.",
    parameters={
        "type": "object",
        "properties": {"word": {"type": "string"}},
        "required": ["word"],
        "additionalProperties": False,
    },
)
_UNTOLD: Final = (
    "; some servers tell only when asked to: "
    "vLLM `--enable-prompt-tokens-details`, SGLang `--enable-cache-report`"
)
_CONTEXT_NAMES: Final = (
    "max_model_len",
    "context_window",
    "context_length",
    "max_input_tokens",
    "n_ctx",
    "n_ctx_train",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one question came to."""

    name: str
    standing: Standing
    text: str
    needed: bool = False
    """Whether a session can do nothing without it."""
    reply: Reply | None = None
    """The reply that showed it; None when there was none."""


async def check(backend: Served) -> AsyncIterator[Finding]:
    """Ask a server a few small questions, and give each finding as it comes.

    Raises:
        ModelServerError: When the server gives no reply at all.
    """
    yield await _listed(backend)
    if backend.talk.server.dynamo is not None:
        await backend.talk.tried(backend.talk.require_ready)
        yield Finding(name="ready", standing="yes", text="Dynamo's workers are there")
    talk: tuple[Message, ...] = (
        SystemMessage(text=_SYSTEM),
        UserMessage(text=f"Answer with the word `{_WORD}`."),
    )
    started = time.monotonic()
    reply = await backend.ask(talk, (_TOOL,))
    yield _answered(reply, time.monotonic() - started)
    yield _counted(reply)
    talk = (*talk, *_turn(reply), UserMessage(text=f"Call the tool `report` with the word `{_WORD}`."))
    called = await backend.ask(talk, (_TOOL,))
    yield _called(called)
    yield _cached(called)


def _turn(reply: Reply) -> tuple[Message, ...]:
    """Return what a reply adds to the conversation; a call that came unasked has its answer, too."""
    results = [ObservationMessage(call_id=call.call_id, text="ok", refused=False) for call in reply.calls]
    return (ModelMessage(reply=reply), *results)


async def _listed(backend: Served) -> Finding:
    wanted = backend.talk.server.model
    try:
        models = await backend.list_models()
    except ModelServerError as error:
        if error.failure.kind in {"unreachable", "credential", "timeout"} or error.failure.status == 401:
            raise
        return Finding(name="listed", standing="unknown", text=f"the server lists no models: {error.message}")
    mine = next((model for model in models if model.get("id") == wanted), None)
    if mine is None:
        names = ", ".join(str(model.get("id")) for model in models[:5]) or "none"
        return Finding(name="listed", standing="no", text=one_line(f"`{wanted}` is not among: {names}"))
    return Finding(name="listed", standing="yes", text=f"`{one_line(wanted)}`, context {_context(mine)}")


def _context(model: Mapping[str, object]) -> str:
    places = (model, members(model.get("meta")))  # llama.cpp tells what a model was trained with there
    found = [place[name] for place in places for name in _CONTEXT_NAMES if isinstance(place.get(name), int)]
    return f"{found[0]} tokens" if found else "not told"


def _answered(reply: Reply, seconds: float) -> Finding:
    first = reply.first_token_seconds
    came = f"in pieces, the first after {first:.2f} s" if first is not None else "in one piece"
    text = f"{seconds:.2f} s, {came}"
    return Finding(name="answers", standing="yes", text=text, needed=True, reply=reply)


def _counted(reply: Reply) -> Finding:
    usage = reply.usage
    if usage.estimated:
        return Finding(name="counts", standing="no", text="no usage: tokens are estimated from characters")
    text = f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
    return Finding(name="counts", standing="yes", text=text)


def _called(reply: Reply) -> Finding:
    proposals = [call.proposal for call in reply.calls]
    named = [p for p in proposals if isinstance(p, ToolProposal) and p.tool == _TOOL.name]
    if named and called_arguments(named[0]) == {"word": _WORD}:
        return Finding(name="tools", standing="yes", text="called as asked", needed=True, reply=reply)
    if proposals:
        return Finding(
            name="tools", standing="no", text="called otherwise than asked", needed=True, reply=reply
        )
    text = f"no call; it said: {one_line(reply.text)[:80]}"
    return Finding(name="tools", standing="no", text=text, needed=True, reply=reply)


def _cached(reply: Reply) -> Finding:
    usage = reply.usage
    standing: Standing = "yes" if usage.cached_tokens else ("unknown" if usage.estimated else "no")
    text = f"{usage.cached_tokens} of {usage.input_tokens} tokens came from its cache the second time"
    return Finding(
        name="keeps prefix", standing=standing, text=text if usage.cached_tokens else text + _UNTOLD
    )
