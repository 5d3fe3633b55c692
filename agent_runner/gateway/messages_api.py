"""Speak Anthropic's messages to an agent."""

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
from agent_runner.backends.estimate import estimated
from agent_runner.backends.media import media_of
from agent_runner.backends.reply_format import described_to_model
from agent_runner.backends.wording import called_arguments
from agent_runner.gateway import schema
from agent_runner.gateway.asked import Asked, RefusedRequestError, capability, cut, named_calls
from agent_runner.gateway.formats import messages_format
from agent_runner.gateway.messages_events import MessagesEvents, error_told, stop_told, usage_told
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.media import Media
    from agent_runner.backends.reply_format import ReplyFormat
    from cli_tools.schema import Tool

_TAKEN: Final = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "stream", "stop_sequences", "output_config"}
)
_LEFT: Final = frozenset(
    {"max_tokens", "temperature", "top_p", "top_k", "metadata", "thinking", "cache_control"}
)
_TEXT: Final = frozenset({"text"})
_CACHE: Final = frozenset({"cache_control"})


class MessagesApi:
    """`/v1/messages`, and the counting of tokens beside it."""

    def read(self, body: object) -> Asked:
        """Return what a request asks for.

        Raises:
            RefusedRequestError: When it holds anything else than text and the agent's own tools.
        """
        given = schema.fields(body, "request", taken=_TAKEN, left=_LEFT)
        messages: list[Message] = []
        if system := given.get("system"):
            messages.append(SystemMessage(text=schema.joined(system, "system", _TEXT)))
        for each in schema.items(given.get("messages"), "messages"):
            messages += _messages(each)
        offered, choice = _chosen(given.get("tool_choice", {"type": "auto"}), schema.tools(given, _tool))
        return Asked(
            model=schema.model_name(given.get("model")),
            messages=schema.conversation(messages),
            tools=offered,
            choice=choice,
            form=_form(given.get("output_config", {})),
            stream=given.get("stream", False) is True,
            stops=schema.stops(given.get("stop_sequences", []), "stop_sequences"),
        )

    def whole(self, asked: Asked, reply: Reply, name: str) -> object:
        """Return a reply in one piece."""
        return {
            **_head(asked, name),
            "content": _content(asked, reply),
            **stop_told(reply, asked.stops),
            "usage": usage_told(reply),
        }

    def events(self, asked: Asked, name: str) -> MessagesEvents:
        """Return what tells one reply as a stream."""
        tokens = estimated(asked.messages, described_to_model(asked.tools, asked.form))
        return MessagesEvents(_head(asked, name), asked.stops, input_tokens=tokens)

    def error(self, error: RefusedRequestError) -> object:
        """Return an error as Anthropic's API tells it."""
        return error_told(error)


def _messages(value: object) -> list[Message]:
    given = schema.fields(value, "message", taken=frozenset({"role", "content"}), left=frozenset())
    role, content = given.get("role"), given.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if role == "assistant":
        return [_said(schema.items(blocks, "content"))]
    if role == "user":
        return _heard(schema.items(blocks, "content"))
    if role == "system":
        return [SystemMessage(text=schema.joined(content, "content", _TEXT))]
    raise capability(f"role `{str(role)[:80]}`")


def _said(blocks: list[object]) -> Message:
    words: list[str] = []
    calls: list[Call] = []
    for block in blocks:
        if _kind(block) == "tool_use":
            given = schema.fields(
                block, "tool_use", taken=frozenset({"type", "id", "name", "input"}), left=_CACHE
            )
            calls.append(schema.call(given.get("id"), given.get("name"), given.get("input", {})))
        else:
            words.append(schema.part_text(block, "content", _TEXT))
    return schema.said("".join(words), tuple(calls))


def _heard(blocks: list[object]) -> list[Message]:
    """Return results first, as the API wants them, then what was said beside them."""
    results: list[Message] = []
    words: list[str] = []
    media: list[Media] = []
    for block in blocks:
        match _kind(block):
            case "tool_result":
                result, pictures = _result(block)
                results.append(result)
                media += pictures
            case _ if picture := _picture(block):
                media.append(picture)
            case _:
                words.append(schema.part_text(block, "content", _TEXT))
    if not words and not media and results:
        return results
    return [*results, UserMessage(text="\n".join(words), media=tuple(media))]


def _picture(block: object) -> Media | None:
    if _kind(block) != "image":
        return None
    given = schema.fields(block, "image", taken=frozenset({"type", "source"}), left=_CACHE)
    source = given.get("source")
    if not isinstance(source, Mapping) or source.get("type") != "base64":
        raise capability("an `image` whose source is not its bytes: the server would fetch it")
    found = schema.fields(source, "source", taken=frozenset({"type", "media_type", "data"}), left=frozenset())
    try:
        return media_of(found.get("media_type"), found.get("data"))
    except ValueError as error:
        raise RefusedRequestError(str(error)) from error


def _result(block: object) -> tuple[ObservationMessage, tuple[Media, ...]]:
    given = schema.fields(
        block, "tool_result", taken=frozenset({"type", "tool_use_id", "content", "is_error"}), left=_CACHE
    )
    words, media = schema.shown(given.get("content", ""), "tool_result", _TEXT, _picture)
    refused = given.get("is_error") is True
    return schema.result(given.get("tool_use_id"), words, media, refused=refused), media


def _kind(block: object) -> object:
    return block.get("type") if isinstance(block, Mapping) else None


def _tool(value: object) -> Tool:
    if isinstance(value, Mapping) and value.get("type") not in (None, "custom"):
        raise capability(f"a tool of type `{str(value.get('type'))[:80]}`, which the server would run")
    given = schema.fields(
        value,
        "tool",
        taken=frozenset({"type", "name", "description", "input_schema"}),
        left=_CACHE | frozenset({"strict", "eager_input_streaming"}),
    )
    return schema.function_tool(given.get("name"), given.get("description"), given.get("input_schema"))


def _chosen(choice: object, offered: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], Choice | None]:
    given = schema.fields(
        choice,
        "tool_choice",
        taken=frozenset({"type", "name"}),
        left=frozenset({"disable_parallel_tool_use"}),
    )
    named = given.get("name", "") if given.get("type") == "tool" else None
    return schema.chosen(given.get("type"), offered, name=named)


def _form(config: object) -> ReplyFormat | None:
    given = schema.fields(config, "output_config", taken=frozenset({"format"}), left=frozenset({"effort"}))
    return messages_format(given["format"]) if "format" in given else None


def _head(asked: Asked, name: str) -> dict[str, object]:
    return {"id": f"msg_{name}", "type": "message", "role": "assistant", "model": asked.model}


def _content(asked: Asked, reply: Reply) -> list[dict[str, object]]:
    words = cut(reply.text, asked.stops)
    blocks: list[dict[str, object]] = [{"type": "text", "text": words}] if words else []
    for call_id, name, arguments in named_calls(reply):
        given = called_arguments(ToolProposal(tool=name, arguments=arguments))
        blocks.append({"type": "tool_use", "id": call_id, "name": name, "input": given})
    return blocks
