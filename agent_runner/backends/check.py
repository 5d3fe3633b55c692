"""Find out what a model's server can do, by asking: answer, stream, count, call tools, keep a prefix."""

from __future__ import annotations

import difflib
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
    from collections.abc import AsyncIterator, Mapping, Sequence

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
_NAMES: Final = 5
_SHOWN_CHARACTERS: Final = 36
"""Of a reply: what is left of a line of 80."""
_MOST_COMPARED: Final = 500
_LONGEST_COMPARED: Final = 200
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
        ModelServerError: When the server gives no reply at all; `unanswered` makes a finding of it.
    """
    for found in await _listed(backend):
        yield found
    if backend.talk.server.dynamo is not None:
        await backend.talk.tried(backend.talk.require_ready)
        yield Finding(name="ready", standing="yes", text="Dynamo's workers are there")
    talk: tuple[Message, ...] = (
        SystemMessage(text=_SYSTEM),
        UserMessage(text=f"Answer with the word `{_WORD}`."),
    )
    started = time.monotonic()
    reply = await backend.ask(talk, (_TOOL,))
    seconds = time.monotonic() - started
    yield Finding(name="answers", standing="yes", text=f"{seconds:.2f} s", needed=True, reply=reply)
    yield _streamed(reply, wanted=backend.talk.server.stream)
    yield _counted(reply)
    talk = (*talk, *_turn(reply), UserMessage(text=f"Call the tool `report` with the word `{_WORD}`."))
    called = await backend.ask(talk, (_TOOL,))
    yield _called(called)
    yield _cached(called)


def _turn(reply: Reply) -> tuple[Message, ...]:
    """Return what a reply adds to the conversation; a call that came unasked has its answer, too."""
    results = [ObservationMessage(call_id=call.call_id, text="ok", refused=False) for call in reply.calls]
    return (ModelMessage(reply=reply), *results)


def unanswered(error: ModelServerError) -> Finding:
    """Return the finding of a server that gives no reply."""
    return Finding(name="answers", standing="no", text=error.message, needed=True)


async def _listed(backend: Served) -> tuple[Finding, ...]:
    """Return whether the server lists the model, and with what context if it does."""
    wanted = backend.talk.server.model
    try:
        models = await backend.list_models()
    except ModelServerError as error:
        if error.failure.kind in {"unreachable", "credential", "timeout"} or error.failure.status == 401:
            raise
        text = f"the server lists no models: {error.message}"
        return (Finding(name="listed", standing="unknown", text=text),)
    mine = next((model for model in models if model.get("id") == wanted), None)
    if mine is None:
        text = f"`{wanted}` is not among: {_nearest(wanted, models)}"
        return (Finding(name="listed", standing="no", text=one_line(text)),)
    return Finding(name="listed", standing="yes", text=f"`{one_line(wanted)}`"), _context(mine)


def _nearest(wanted: str, models: Sequence[Mapping[str, object]]) -> str:
    """Return a few of the names that are served, those first that look most like the one that is wanted."""
    names = [str(model.get("id"))[:_LONGEST_COMPARED] for model in models[:_MOST_COMPARED]]
    near = difflib.get_close_matches(wanted[:_LONGEST_COMPARED], names, n=_NAMES, cutoff=0.3)
    shown = [*near, *(name for name in names if name not in near)][:_NAMES]
    more = len(models) - len(shown)
    return (", ".join(shown) or "none") + (f", and {more} more" if more > 0 else "")


def _context(model: Mapping[str, object]) -> Finding:
    places = (model, members(model.get("meta")))  # llama.cpp tells what a model was trained with there
    found = [place[name] for place in places for name in _CONTEXT_NAMES if isinstance(place.get(name), int)]
    if not found:
        return Finding(
            name="context", standing="unknown", text="not told: see `context` in the configuration"
        )
    return Finding(name="context", standing="yes", text=f"{found[0]} tokens")


def _streamed(reply: Reply, *, wanted: bool) -> Finding:
    first = reply.first_token_seconds
    if first is not None:
        return Finding(name="streams", standing="yes", text=f"the first piece after {first:.2f} s")
    text = "it came in one piece" if wanted else "`stream: false` of the configuration asks for one piece"
    return Finding(name="streams", standing="no" if wanted else "unknown", text=text)


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
    text = f"no call; it said: {one_line(reply.text)[:_SHOWN_CHARACTERS]}"
    return Finding(name="tools", standing="no", text=text, needed=True, reply=reply)


def _cached(reply: Reply) -> Finding:
    usage = reply.usage
    standing: Standing = "yes" if usage.cached_tokens else ("unknown" if usage.estimated else "no")
    text = f"{usage.cached_tokens} of {usage.input_tokens} tokens came from its cache the second time"
    return Finding(
        name="keeps prefix", standing=standing, text=text if usage.cached_tokens else text + _UNTOLD
    )
