"""Speak OpenAI's responses to an agent; nothing is stored, so a conversation comes whole each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import (
    Call,
    Message,
    ModelMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.gateway import schema
from agent_runner.gateway.asked import (
    Asked,
    RefusedRequestError,
    capability,
    named_calls,
    openai_error,
)
from agent_runner.gateway.formats import responses_format
from agent_runner.gateway.responses_events import (
    ResponsesEvents,
    call_item,
    response,
    status_of,
    text_item,
)

if TYPE_CHECKING:
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.media import Media
    from agent_runner.backends.reply_format import ReplyFormat
    from cli_tools.schema import Tool

_TAKEN: Final = frozenset(
    {"model", "input", "instructions", "tools", "tool_choice", "stream", "include", "text"}
)
_LEFT: Final = frozenset(
    {"max_output_tokens", "temperature", "top_p", "parallel_tool_calls", "store", "user", "metadata"}
    | {
        "reasoning",
        "truncation",
        "prompt_cache_key",
        "safety_identifier",
        "client_metadata",
        "stream_options",
    }
)
_PARTS: Final = frozenset({"input_text", "output_text", "text"})
_MESSAGE_LEFT: Final = frozenset({"id", "status", "phase"})


class ResponsesApi:
    """`/v1/responses`."""

    def read(self, body: object) -> Asked:
        """Return what a request asks for.

        Raises:
            RefusedRequestError: When it holds anything else than text and function tools.
        """
        given = schema.fields(body, "request", taken=_TAKEN, left=_LEFT)
        if given.get("store", False) is not False:
            raise capability("such a `store`")
        _require_nothing_included(given)
        offered, choice = _chosen(given.get("tool_choice", "auto"), schema.tools(given, _tool))
        messages: list[Message] = []
        if instructions := given.get("instructions"):
            messages.append(SystemMessage(text=schema.text(instructions, "instructions")))
        source = given.get("input")
        listed = [{"role": "user", "content": source}] if isinstance(source, str) else source
        shown: list[Media] = []
        for each in schema.items(listed, "input"):
            if shown and (not isinstance(each, Mapping) or each.get("type") != "function_call_output"):
                messages.append(_showing(shown))
            _add(messages, each, shown)
        if shown:
            messages.append(_showing(shown))
        return Asked(
            model=schema.model_name(given.get("model")),
            messages=schema.conversation(messages),
            tools=offered,
            choice=choice,
            form=_form(given.get("text", {})),
            stream=given.get("stream", False) is True,
        )

    def whole(self, asked: Asked, reply: Reply, name: str) -> object:
        """Return a reply in one piece."""
        said = [text_item(f"msg_{name}_0", reply.text)] if reply.text else []
        made = enumerate(named_calls(reply), start=len(said))
        calls = [call_item(f"fc_{name}_{place}", *call, status="completed") for place, call in made]
        status = status_of(reply)
        return response(asked.model, name, [*said, *calls], status=status, reply=reply)

    def events(self, asked: Asked, name: str) -> ResponsesEvents:
        """Return what tells one reply as a stream."""
        return ResponsesEvents(asked.model, name)

    def error(self, error: RefusedRequestError) -> object:
        """Return an error as OpenAI's API tells it."""
        return openai_error(error)


def _chosen(choice: object, offered: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], Choice | None]:
    if not isinstance(choice, Mapping):
        return schema.chosen(choice, offered)
    if choice.get("type") != "function":
        raise capability(f"a `tool_choice` of type `{str(choice.get('type'))[:80]}`")
    given = schema.fields(choice, "tool_choice", taken=frozenset({"type", "name"}), left=frozenset())
    return schema.chosen("function", offered, name=given.get("name", ""))


def _require_nothing_included(given: Mapping[str, object]) -> None:
    """Refuse what a server would have to look up; reasoning is never kept, and is left out when asked for."""
    for each in schema.items(given.get("include", []), "include"):
        if each != "reasoning.encrypted_content":
            raise capability(f"`include: {str(each)[:80]}`")


def _form(text: object) -> ReplyFormat | None:
    given = schema.fields(text, "text", taken=frozenset({"format"}), left=frozenset({"verbosity"}))
    return responses_format(given.get("format", {"type": "text"}))


def _showing(shown: list[Media]) -> UserMessage:
    """Return what shows the pictures of results: behind all of them, for calls and results stay together."""
    media = tuple(shown)
    shown.clear()
    return UserMessage(text="", media=media)


def _add(messages: list[Message], item: object, shown: list[Media]) -> None:
    """Add an item's message; the pictures of a result are to be shown."""
    untold = "message" if isinstance(item, Mapping) and "role" in item else "item_reference"
    kind = item.get("type") or untold if isinstance(item, Mapping) else None
    match kind:
        case "message":
            messages.append(_message(item))
        case "function_call":
            given = schema.fields(
                item,
                "function_call",
                taken=frozenset({"type", "call_id", "name", "arguments"}),
                left=_MESSAGE_LEFT,
            )
            made = schema.call(given.get("call_id"), given.get("name"), given.get("arguments", "{}"))
            _add_call(messages, made)
        case "function_call_output":
            given = schema.fields(
                item,
                "function_call_output",
                taken=frozenset({"type", "call_id", "output"}),
                left=_MESSAGE_LEFT,
            )
            words, media = schema.shown(given.get("output", ""), "output", _PARTS, _picture)
            messages.append(schema.result(given.get("call_id"), words, media, refused=False))
            shown += media
        case _:
            raise capability(f"input of type `{str(kind)[:80]}`")


def _add_call(messages: list[Message], made: Call) -> None:
    """Put a call beside what the model said with it: the API tells them one by one, in one turn."""
    last = messages[-1] if messages else None
    if isinstance(last, ModelMessage):
        messages[-1] = schema.said(last.reply.text, (*last.reply.calls, made))
    else:
        messages.append(schema.said("", (made,)))


def _message(item: object) -> Message:
    given = schema.fields(item, "message", taken=frozenset({"type", "role", "content"}), left=_MESSAGE_LEFT)
    role = given.get("role")
    if role == "user":
        told, media = schema.shown(given.get("content"), "content", _PARTS, _picture)
        return UserMessage(text="".join(told), media=media)
    words = schema.joined(given.get("content"), "content", _PARTS)
    match role:
        case "system" | "developer":
            return SystemMessage(text=words)
        case "assistant":
            return schema.said(words, ())
        case _:
            raise capability(f"role `{str(role)[:80]}`")


def _picture(part: object) -> Media | None:
    if not isinstance(part, Mapping) or part.get("type") != "input_image":
        return None
    given = schema.fields(
        part, "part of content", taken=frozenset({"type", "image_url"}), left=frozenset({"detail"})
    )
    return schema.picture_at(given.get("image_url"), "an `input_image`")


def _tool(value: object) -> Tool:
    if isinstance(value, Mapping) and value.get("type") != "function":
        raise capability(f"a tool of type `{str(value.get('type'))[:80]}`")
    given = schema.fields(
        value,
        "tool",
        taken=frozenset({"type", "name", "description", "parameters"}),
        left=frozenset({"strict"}),
    )
    return schema.function_tool(given.get("name"), given.get("description"), given.get("parameters"))
