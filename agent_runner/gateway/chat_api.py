"""Speak OpenAI's chat completions to an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import (
    Call,
    Message,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.gateway import schema
from agent_runner.gateway.asked import Asked, RefusedRequestError, capability, cut, named_calls, openai_error
from agent_runner.gateway.chat_events import ChatEvents, finish_reason, usage_told
from agent_runner.gateway.formats import chat_format

if TYPE_CHECKING:
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.media import Media
    from cli_tools.schema import Tool

_TAKEN: Final = frozenset(
    {"model", "messages", "tools", "tool_choice", "stream", "stream_options", "stop", "n", "response_format"}
)
_LEFT: Final = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "presence_penalty"}
    | {"frequency_penalty", "user", "reasoning_effort", "parallel_tool_calls", "store"}
    | {"logprobs", "verbosity", "prompt_cache_key", "safety_identifier", "metadata"}
    | {"modalities"}
)
_HARMLESS: Final = {
    "store": (False,),
    "logprobs": (False,),
    "n": (1,),
    "modalities": (["text"],),
}
_PARTS: Final = frozenset({"text"})
_MESSAGE: Final = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_MESSAGE_LEFT: Final = frozenset(
    {"name", "refusal", "annotations", "reasoning_content", "reasoning"}
    | {"provider_specific_fields"}  # what litellm adds to each reply, and sends back
)


class ChatApi:
    """`/v1/chat/completions`."""

    def read(self, body: object) -> Asked:
        """Return what a request asks for.

        Raises:
            RefusedRequestError: When it holds anything else than text and function tools.
        """
        given = schema.fields(body, "request", taken=_TAKEN, left=_LEFT)
        for name, lawful in _HARMLESS.items():
            if name in given and given[name] not in lawful:
                raise capability(f"such a `{name}`")
        options = schema.fields(
            given.get("stream_options", {}),
            "stream_options",
            taken=frozenset({"include_usage"}),
            left=frozenset({"include_obfuscation"}),
        )
        offered, choice = _chosen(given.get("tool_choice", "auto"), schema.tools(given, _tool))
        messages = [_message(each) for each in schema.items(given.get("messages"), "messages")]
        return Asked(
            model=schema.model_name(given.get("model")),
            messages=schema.conversation(messages),
            tools=offered,
            choice=choice,
            form=chat_format(given.get("response_format", {"type": "text"})),
            stream=given.get("stream", False) is True,
            counted=options.get("include_usage") is True,
            stops=_stops(given.get("stop", [])),
        )

    def whole(self, asked: Asked, reply: Reply, name: str) -> object:
        """Return a reply in one piece."""
        message: dict[str, object] = {
            "role": "assistant",
            "content": cut(reply.text, asked.stops),
            "refusal": None,
        }
        if calls := _calls(reply):
            message |= {"content": message["content"] or None, "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason(reply), "logprobs": None}
        return {**_head(asked, name, "chat.completion"), "choices": [choice], "usage": usage_told(reply)}

    def events(self, asked: Asked, name: str) -> ChatEvents:
        """Return what tells one reply as a stream."""
        return ChatEvents(_head(asked, name, "chat.completion.chunk"), counted=asked.counted)

    def error(self, error: RefusedRequestError) -> object:
        """Return an error as OpenAI's API tells it."""
        return openai_error(error)


def _message(value: object) -> Message:
    given = schema.fields(value, "message", taken=_MESSAGE, left=_MESSAGE_LEFT)
    role, content = str(given.get("role")), given.get("content", "")
    if role in {"system", "developer"}:
        return SystemMessage(text=schema.joined(content, "content", _PARTS))
    if role == "user":
        told, media = schema.shown(content, "content", _PARTS, _picture)
        return UserMessage(text="".join(told), media=media)
    if role == "assistant":
        calls = tuple(_made_call(each) for each in schema.items(given.get("tool_calls", []), "tool_calls"))
        return schema.said(schema.joined(content, "content", _PARTS), calls)
    if role == "tool":
        call_id = schema.call_name(given.get("tool_call_id"))
        words = schema.joined(content, "content", _PARTS)
        return ObservationMessage(call_id=call_id, text=words, refused=False)
    raise capability(f"role `{role[:80]}`")


def _picture(part: object) -> Media | None:
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return None
    given = schema.fields(
        part, "part of content", taken=frozenset({"type", "image_url"}), left=frozenset({"cache_control"})
    )
    image = schema.fields(
        given.get("image_url"), "image_url", taken=frozenset({"url"}), left=frozenset({"detail"})
    )
    return schema.picture_at(image.get("url"), "an `image_url`")


def _made_call(value: object) -> Call:
    given = schema.fields(
        value, "tool call", taken=frozenset({"id", "type", "function"}), left=frozenset({"index"})
    )
    _require_function(given)
    function = schema.fields(
        given.get("function"), "function", taken=frozenset({"name", "arguments"}), left=frozenset()
    )
    return schema.call(given.get("id"), function.get("name"), function.get("arguments", "{}"))


def _tool(value: object) -> Tool:
    given = schema.fields(value, "tool", taken=frozenset({"type", "function"}), left=frozenset())
    _require_function(given)
    function = schema.fields(
        given.get("function"),
        "function",
        taken=frozenset({"name", "description", "parameters"}),
        left=frozenset({"strict"}),
    )
    return schema.function_tool(function.get("name"), function.get("description"), function.get("parameters"))


def _chosen(choice: object, offered: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], Choice | None]:
    if not isinstance(choice, Mapping):
        return schema.chosen(choice, offered)
    given = schema.fields(choice, "tool_choice", taken=frozenset({"type", "function"}), left=frozenset())
    _require_function(given)
    named = schema.fields(given.get("function"), "function", taken=frozenset({"name"}), left=frozenset())
    return schema.chosen("function", offered, name=named.get("name", ""))


def _require_function(given: Mapping[str, object]) -> None:
    if given.get("type", "function") != "function":
        raise capability(f"a tool of type `{str(given.get('type'))[:80]}`")


def _stops(value: object) -> tuple[str, ...]:
    return schema.stops([value] if isinstance(value, str) else value, "stop")


def _head(asked: Asked, name: str, kind: str) -> dict[str, object]:
    return {"id": f"chatcmpl-{name}", "object": kind, "created": 0, "model": asked.model}


def _calls(reply: Reply) -> list[dict[str, object]]:
    return [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in named_calls(reply)
    ]
