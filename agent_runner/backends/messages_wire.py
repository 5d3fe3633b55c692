"""Translate between a conversation and Anthropic's messages. Pure: no socket, no SDK."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, assert_never

from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.backends.failure import stream_error
from agent_runner.backends.pieces import PartialCall, Pieces, count, items, members
from agent_runner.backends.thoughts import Thoughts
from agent_runner.backends.wording import NOTHING, called_arguments, called_name, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_runner.backends.backend import Thought
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.media import Media
    from cli_tools.schema import Tool

Wire = dict[str, object]
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")
_CACHE: Final = {"type": "ephemeral"}


def wire_tools(tools: Iterable[Tool]) -> list[Wire]:
    """Return the tools."""
    return [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        for tool in tools
    ]


def wire_choice(choice: Choice) -> Wire:
    """Return how a call is asked for."""
    return {"type": "tool", "name": choice.tool} if choice.tool else {"type": "any"}


def wire_format(described: Tool) -> Wire:
    """Return how a format of the reply is asked for: it has no place for a description but the schema."""
    about = {"description": described.description} if described.description else {}
    return {"format": {"type": "json_schema", "schema": {**about, **described.parameters}}}


def wire_system(messages: Iterable[Message], *, prompt_cache: bool) -> list[Wire]:
    """Return the system text; a mark has it, and the tools before it, kept in the server's prompt cache."""
    texts = [message.text for message in messages if isinstance(message, SystemMessage)]
    blocks: list[Wire] = [{"type": "text", "text": _some(text)} for text in texts]
    if blocks and prompt_cache:
        blocks[-1]["cache_control"] = dict(_CACHE)
    return blocks


def wire_messages(messages: Iterable[Message]) -> list[Wire]:
    """Return the conversation as the API wants it."""
    return joined(map(wire_message, messages))


def wire_message(message: Message, *, by: str = "") -> Wire | None:
    """Return one message; None for the system's text, which stands elsewhere.

    Args:
        message: What was said.
        by: Whose thoughts go back; empty for nobody's.
    """
    match message:
        case SystemMessage():
            return None
        case ObservationMessage():
            return {"role": "user", "content": [_result(message)]}
        case UserMessage(text=text, media=media):
            said: list[Wire] = [] if media and not text.strip() else [{"type": "text", "text": _some(text)}]
            return {"role": "user", "content": [*map(_picture, media), *said]}
        case ModelMessage(reply=reply):
            return {"role": "assistant", "content": _said(reply, by)}
        case _:
            assert_never(message)


def joined(messages: Iterable[Wire | None]) -> list[Wire]:
    """Return messages with the results of one reply's calls as one message, none of them changed."""
    wire: list[Wire] = []
    results: list[object] | None = None
    for message in messages:
        if message is None:
            continue
        found = _results_in(message)
        if found and results is not None:
            results.extend(found)
            continue
        results = found
        wire.append(message if found is None else {**message, "content": found})
    return wire


def _results_in(message: Wire) -> list[object] | None:
    """Return a copy of what a message of results holds; None for any other message."""
    blocks = items(message.get("content"))
    return list(blocks) if members(blocks[0]).get("type") == "tool_result" else None


def _picture(media: Media) -> Wire:
    source = {"type": "base64", "media_type": media.kind, "data": media.data}
    return {"type": "image", "source": source}


def _result(message: ObservationMessage) -> Wire:
    text = safe_text(message.text)
    return {
        "type": "tool_result",
        "tool_use_id": _wire_id(message.call_id),
        "content": text,
        **({"is_error": True} if message.refused else {}),
    }


def _said(reply: Reply, by: str) -> list[Wire]:
    calls: list[Wire] = [
        {
            "type": "tool_use",
            "id": _wire_id(call.call_id),
            "name": called_name(call.proposal),
            "input": called_arguments(call.proposal),
        }
        for call in reply.calls
    ]
    blocks: list[Wire] = []
    characters = called = 0
    for thought in reply.thoughts:
        if by and thought.by == by:
            blocks += [*_text(reply.text[characters : thought.characters]), *calls[called : thought.calls]]
            characters, called = thought.characters, thought.calls
            blocks.append(json.loads(thought.sealed))
    return [*blocks, *_text(reply.text[characters:]), *calls[called:]] or [{"type": "text", "text": NOTHING}]


def _text(text: str) -> list[Wire]:
    return [{"type": "text", "text": safe_text(text)}] if text.strip() else []


def _wire_id(call_id: str) -> str:
    """Return an id as the API accepts one: that of another model of a route may hold `.` and `:`."""
    return _NOT_IN_IDS.sub("-", call_id)


def _some(text: str) -> str:
    """Return text that is not empty: the API refuses an empty block."""
    return safe_text(text) if text.strip() else NOTHING


class MessagesReader:
    """Read the events of a reply, or the whole message where a server gives it in one piece."""

    def __init__(self) -> None:
        self.pieces = Pieces()
        self._calls: dict[object, PartialCall] = {}
        self._whole: list[tuple[PartialCall, object]] = []
        """Calls whose arguments stood in their beginning, and these."""
        self._usage: dict[str, object] = {}
        self._thoughts = Thoughts()

    def thoughts(self, by: str) -> tuple[Thought, ...]:
        """Return what the model thought, sealed; nothing of a reply that was cut."""
        return () if self.pieces.cut else self._thoughts.whole(by)

    def take(self, event: Mapping[str, object]) -> None:
        """Take one event.

        Raises:
            ModelServerError: When it is an error.
        """
        match event.get("type"):
            case "message_start":
                self._count(members(event.get("message")))
            case "content_block_start":
                self._block(event.get("index"), members(event.get("content_block")))
            case "content_block_delta":
                self._delta(event.get("index"), members(event.get("delta")))
            case "content_block_stop":
                self._end_blocks()
            case "message_delta":
                self._count(event)
                self._stop(members(event.get("delta")))
            case "message":
                for index, block in enumerate(items(event.get("content"))):
                    self._block(index, members(block))
                self._count(event)
                self._stop(event)
            case kind if kind == "error" or event.get("error"):  # gateways tell theirs in OpenAI's shape
                raise stream_error("the model's server", event)
            case _:
                pass  # `ping`, `message_stop`, and what a later version adds: to be passed over, the API says

    def _block(self, index: object, block: Mapping[str, object]) -> None:
        self._end_blocks()
        match block.get("type"):
            case "text":
                self.pieces.add_text(block.get("text"))
            case "thinking" | "redacted_thinking":
                self._thoughts.begin(_place(index), block, self.pieces)
                self.pieces.count_sealed(block.get("signature"), block.get("data"))
                self.pieces.add_reasoning(block.get("thinking"))
            case "tool_use":
                call = self.pieces.new_call(block.get("id"), block.get("name"))
                self._calls[_place(index)] = call
                if block.get("input"):
                    self._whole.append((call, block["input"]))
            case _:
                pass  # what the server ran itself was never asked for, and is no call of ours

    def _delta(self, index: object, delta: Mapping[str, object]) -> None:
        self.pieces.add_text(delta.get("text"))
        self.pieces.add_reasoning(delta.get("thinking"))
        self._thoughts.more(_place(index), delta)
        self.pieces.count_sealed(delta.get("signature"), delta.get("data"))
        call = self._calls.get(_place(index))
        if call is not None:
            self.pieces.add_arguments(call, delta.get("partial_json"))

    def _end_blocks(self) -> None:
        """Take the arguments of calls that had them in their beginning; in pieces, they came again."""
        for call, given in self._whole:
            if not call.arguments:
                self.pieces.add_arguments(call, given)
        self._whole.clear()

    def _stop(self, source: Mapping[str, object]) -> None:
        self._end_blocks()
        reason = source.get("stop_reason")
        self.pieces.end(reason)
        if str(reason) in {"max_tokens", "model_context_window_exceeded"}:
            self.pieces.cut = "it reached the length that was allowed"

    def _count(self, source: Mapping[str, object]) -> None:
        """Add up usage: the input is told at the start, the output at the end; what is no count, nowhere."""
        given = members(source.get("usage"))
        self._usage.update({name: value for name, value in given.items() if count(given, name)})
        if not self._usage:
            return
        read = count(self._usage, "cache_read_input_tokens")
        written = count(self._usage, "cache_creation_input_tokens")
        self.pieces.usage = Usage(
            input_tokens=count(self._usage, "input_tokens") + read + written,
            output_tokens=count(self._usage, "output_tokens"),
            cached_tokens=read,
            cache_write_tokens=written,
        )


def _place(index: object) -> object:
    return index if isinstance(index, int) else None
