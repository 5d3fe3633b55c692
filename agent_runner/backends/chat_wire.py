"""Translate between a conversation and OpenAI's chat completions. Pure: no socket, no SDK."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, assert_never

from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.backends.dynamo import hit_rate
from agent_runner.backends.failure import Failure, ModelServerError, is_error_chunk, stream_error
from agent_runner.backends.pieces import PartialCall, Pieces, count, items, members
from agent_runner.backends.wording import (
    NOTHING,
    begins_object,
    called_arguments,
    called_name,
    is_object,
    safe_text,
)
from agent_runner.hearing import ARGUMENT_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.backends.backend import Call
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.reply_format import ReplyFormat
    from cli_tools.schema import Tool

Wire = dict[str, object]
_FAILED: Final = frozenset({"error", "abort", "cancelled"})


def wire_message(message: Message) -> Wire:
    """Return one message; the same message is the same bytes in every call."""
    match message:
        case SystemMessage(text=text):
            return {"role": "system", "content": safe_text(text)}
        case UserMessage(text=text, media=()):
            return {"role": "user", "content": safe_text(text)}
        case UserMessage(text=text, media=media):
            shown: list[Wire] = [{"type": "image_url", "image_url": {"url": each.url}} for each in media]
            said: list[Wire] = [{"type": "text", "text": safe_text(text)}] if text else []
            return {"role": "user", "content": [*shown, *said]}
        case ModelMessage(reply=reply):
            calls: Wire = {"tool_calls": [_wire_call(call) for call in reply.calls]} if reply.calls else {}
            spoken = safe_text(reply.text) if calls or reply.text.strip() else NOTHING
            return {"role": "assistant", "content": spoken, **calls}
        case ObservationMessage(call_id=call_id, text=text):
            return {"role": "tool", "tool_call_id": call_id, "content": safe_text(text)}
        case _:
            assert_never(message)


def _wire_call(call: Call) -> Wire:
    arguments = json.dumps(called_arguments(call.proposal))
    function = {"name": called_name(call.proposal), "arguments": arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def wire_tool(tool: Tool) -> Wire:
    """Return one tool."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def wire_choice(choice: Choice) -> object:
    """Return how a call is asked for."""
    return {"type": "function", "function": {"name": choice.tool}} if choice.tool else "required"


def wire_format(form: ReplyFormat) -> Wire:
    """Return how a format of the reply is asked for."""
    if form.described is None:
        return {"type": "json_object"}
    told: Wire = {"name": form.described.name, "schema": form.described.parameters}
    if form.described.description:
        told["description"] = form.described.description
    if form.strict:
        told["strict"] = True
    return {"type": "json_schema", "json_schema": told}


class ChatReader:
    """Read the chunks of a reply, or the one piece in which a server gives it.

    The quirks of servers that it reads through, each with its test: tool calls without index (Ollama), with
    one index for all (some gateways), with their arguments as an object, named again in every piece, without
    ids; usage in a chunk without choices or in each chunk; reasoning as `reasoning_content` (Dynamo, vLLM,
    SGLang, llama.cpp), `reasoning` (Ollama, newer vLLM) or `thinking`; a last chunk with `message` in place
    of `delta`; tokens from the cache among the timings (llama.cpp); content as a list of parts (Mistral);
    usage in the choice (Kimi), and without what was thought, which only the total has (xAI, Gemini).
    """

    def __init__(self) -> None:
        self.pieces = Pieces()
        self._by_index: dict[int, PartialCall] = {}
        self._looked_left = ARGUMENT_CHARACTERS
        self._hit_rate = 0.0
        self._cached = 0

    def take(self, chunk: Mapping[str, object]) -> None:
        """Take one chunk.

        Raises:
            ModelServerError: When it is an error.
        """
        if is_error_chunk(chunk):
            raise stream_error("the model's server", chunk)
        self._hit_rate = hit_rate(chunk) or self._hit_rate
        self._cached = count(members(chunk.get("timings")), "cache_n") or self._cached
        self._count(chunk.get("usage"))
        for choice in map(members, items(chunk.get("choices"))[:1]):
            self._count(choice.get("usage"))
            self._choice(choice)

    def _count(self, given: object) -> None:
        usage = _usage(members(given), self._hit_rate, self._cached)
        if usage != Usage():
            self.pieces.usage = _merged(self.pieces.usage or Usage(), usage)

    def _choice(self, choice: Mapping[str, object]) -> None:
        whole = not choice.get("delta")
        delta = members(choice.get("message") if whole else choice["delta"])
        self._content(delta.get("content"))
        self.pieces.add_text(delta.get("refusal"))
        self.pieces.add_reasoning(_reasoning(delta))
        for call in items(delta.get("tool_calls")):
            self._call(members(call), whole=whole)
        finish = choice.get("finish_reason")
        if str(finish) in _FAILED:
            raise _broken(f"the model's server ended its reply with `{finish}`")
        self.pieces.end(finish)
        if finish in {"length", "model_length"}:
            self.pieces.cut = "it reached the length that the server allows"

    def _content(self, content: object) -> None:
        """Take what is said: text, or, as Mistral tells it beside what was thought, a list of parts."""
        self.pieces.add_text(content)
        for part in map(members, items(content)):
            self.pieces.add_text(part.get("text"))
            self.pieces.add_reasoning(part.get("thinking"))
            for thought in map(members, items(part.get("thinking"))):
                self.pieces.add_reasoning(thought.get("text"))

    def _call(self, delta: Mapping[str, object], *, whole: bool) -> None:
        """Take a call, or a piece of one; each of a whole message's is its own, whatever their ids are."""
        function = members(delta.get("function"))
        call = self.pieces.new_call(delta.get("id")) if whole else self._belongs_to(delta, function)
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name != call.name:
            call.name = (call.name + name)[:1024]
        call.named_again = bool(name and call.arguments and not arguments)
        if call.call_id and name and not call.arguments and arguments in ("{}", {}):
            call.may_have_none = True
        else:
            self.pieces.add_arguments(call, arguments)

    def _belongs_to(self, delta: Mapping[str, object], function: Mapping[str, object]) -> PartialCall:
        """Find the call that a piece belongs to, or begin one."""
        index, call_id = delta.get("index"), delta.get("id")
        has_index = isinstance(index, int)
        known = self._by_index.get(index) if isinstance(index, int) else self._without_index(call_id)
        if known is None or self._begins_another(known, call_id, function, has_index=has_index):
            name = known.name if known is not None and known.named_again else ""
            known = self.pieces.new_call(call_id, name)
            if isinstance(index, int):
                self._by_index[index] = known
        return known

    def _begins_another(
        self, known: PartialCall, call_id: object, function: Mapping[str, object], *, has_index: bool
    ) -> bool:
        """Say whether a piece for a known place is the start of another call, which would be run as well."""
        name, now = function.get("name"), function.get("arguments")
        if call_id and known.call_id:
            return bool(name) and call_id != known.call_id
        if not name and not known.named_again:
            return False
        if not has_index:
            return True
        if name and name != known.name:
            return bool(known.arguments) or known.may_have_none
        # In every piece of one call, or of another call of the same tool.
        if self._looked_left < 0 or not begins_object(now):
            return False
        self._looked_left -= sum(map(len, known.arguments))
        return is_object("".join(known.arguments))

    def _without_index(self, call_id: object) -> PartialCall | None:
        calls = self.pieces.calls
        same = [call for call in calls if call_id and call.call_id == call_id]
        return same[0] if same else (calls[-1] if calls else None)


def _reasoning(delta: Mapping[str, object]) -> object:
    return delta.get("reasoning_content") or delta.get("reasoning") or delta.get("thinking")


def _usage(usage: Mapping[str, object], hit_rate: float, timed: int) -> Usage:
    """Return the count; where Dynamo's workers prefill apart, only its router counts what was cached."""
    sent = count(usage, "prompt_tokens", "input_tokens")
    details = members(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    cached = count(details, "cached_tokens") or count(usage, "prompt_cache_hit_tokens", "cached_tokens")
    cached = cached or timed or round(hit_rate * sent)
    said = count(usage, "completion_tokens", "output_tokens")
    thought = count(members(usage.get("completion_tokens_details")), "reasoning_tokens")
    apart = thought and count(usage, "total_tokens") == sent + said + thought
    return Usage(
        input_tokens=sent,
        output_tokens=said + thought if apart else said,
        cached_tokens=min(cached, sent),
    )


def _merged(before: Usage, now: Usage) -> Usage:
    """Return the later count; zeros in it, as some gateways write them, take nothing back."""
    return Usage(
        input_tokens=now.input_tokens or before.input_tokens,
        output_tokens=now.output_tokens or before.output_tokens,
        cached_tokens=now.cached_tokens or before.cached_tokens,
    )


def _broken(message: str) -> ModelServerError:
    return ModelServerError(message, failure=Failure(kind="broken"))
