"""Tell a reply as the events of OpenAI's responses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from agent_runner.backends.aloud import ArgumentsTold, CallTold, Step, TextTold
from agent_runner.gateway.asked import ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.backends.backend import Reply
    from agent_runner.gateway.asked import RefusedRequestError

Item = dict[str, object]


class ResponsesEvents:
    """The events of one reply; `api.Events`.

    Args:
        model: The model's name, as it was asked for.
        name: Fresh, for the ids.
    """

    def __init__(self, model: str, name: str) -> None:
        self._model = model
        self._name = name
        self._number = 0
        self._items: list[Item] = []
        self._open: Item | None = None
        self._said: list[str] = []

    def step(self, step: Step) -> Iterator[bytes]:
        """Yield the events of a step."""
        yield from self._beginning()
        match step:
            case TextTold(text=text):
                yield from self._more_text(text)
            case CallTold(call_id=call_id, name=name):
                yield from self._closed()
                item_id = f"fc_{self._name}_{len(self._items)}"
                yield from self._opened(call_item(item_id, call_id, name, "", status="in_progress"))
            case ArgumentsTold(text=text):
                self._said.append(text)
                yield self._event("response.function_call_arguments.delta", **self._place(), delta=text)
            case _:
                assert_never(step)

    def end(self, reply: Reply) -> Iterator[bytes]:
        """Yield the events of the end."""
        yield from self._beginning()
        yield from self._closed()
        whole = response(self._model, self._name, self._items, status=status_of(reply), reply=reply)
        yield self._event(f"response.{status_of(reply)}", response=whole)

    def broken(self, error: RefusedRequestError) -> bytes:
        """Return the event of a response that failed, or, when none had begun, of an error."""
        if not self._number:
            return self._event("error", code=error.code, message=error.message, param=None)
        failed = response(self._model, self._name, self._items, status="failed")
        told = {"code": "server_error", "message": error.message}
        return self._event("response.failed", response={**failed, "error": told})

    def _beginning(self) -> Iterator[bytes]:
        if not self._number:
            begun = response(self._model, self._name, [], status="in_progress")
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)

    def _more_text(self, text: str) -> Iterator[bytes]:
        if self._open is None or self._open["type"] != "message":
            yield from self._closed()
            item_id = f"msg_{self._name}_{len(self._items)}"
            yield from self._opened({**text_item(item_id, ""), "content": [], "status": "in_progress"})
            part = text_part("")
            yield self._event("response.content_part.added", **self._place(), content_index=0, part=part)
        self._said.append(text)
        where = {**self._place(), "content_index": 0}
        yield self._event("response.output_text.delta", **where, delta=text, logprobs=[])

    def _opened(self, item: Item) -> Iterator[bytes]:
        self._open, self._said = item, []
        yield self._event("response.output_item.added", output_index=len(self._items), item=item)

    def _closed(self) -> Iterator[bytes]:
        if self._open is None:
            return
        words, where, opened = "".join(self._said), self._place(), self._open
        if opened["type"] == "message":
            item = text_item(str(opened["id"]), words)
            inner = {**where, "content_index": 0}
            yield self._event("response.output_text.done", **inner, text=words, logprobs=[])
            yield self._event("response.content_part.done", **inner, part=text_part(words))
        else:
            item = {**opened, "arguments": words, "status": "completed"}
            done = {"arguments": words, "name": opened["name"]}
            yield self._event("response.function_call_arguments.done", **where, **done)
        yield self._event("response.output_item.done", output_index=where["output_index"], item=item)
        self._items.append(item)
        self._open = None

    def _place(self) -> Item:
        opened = self._open or {}
        return {"item_id": opened.get("id"), "output_index": len(self._items)}

    def _event(self, kind: str, **members: object) -> bytes:
        value = {"type": kind, **members, "sequence_number": self._number}
        self._number += 1
        return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


def status_of(reply: Reply) -> str:
    """Return whether a reply is whole, in this API's word."""
    return "completed" if ended(reply) == "whole" else "incomplete"


def text_part(words: str) -> Item:
    """Return text as a part of a message."""
    return {"type": "output_text", "text": words, "annotations": []}


def text_item(item_id: str, words: str) -> Item:
    """Return text as an item of a response."""
    head = {"type": "message", "id": item_id, "role": "assistant", "status": "completed"}
    return {**head, "content": [text_part(words)]}


def call_item(item_id: str, call_id: str, name: str, arguments: str, *, status: str) -> Item:
    """Return a call as an item of a response."""
    called = {"call_id": call_id, "name": name, "arguments": arguments}
    return {"type": "function_call", "id": item_id, **called, "status": status}


def response(
    model: str, name: str, output: list[Item], *, status: str, reply: Reply | None = None
) -> dict[str, object]:
    """Return a response; tokens are counted once there is a reply."""
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": 0,
        "status": status,
        "model": model,
        "output": list(output),
        "error": None,
        "incomplete_details": _why_incomplete(reply),
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "top_p": None,
        "tool_choice": "auto",
        "tools": [],
        "usage": None if reply is None else _usage(reply),
    }


def _why_incomplete(reply: Reply | None) -> Item | None:
    reasons = {"cut": "max_output_tokens", "withheld": "content_filter"}
    reason = reasons.get(ended(reply)) if reply is not None else None
    return {"reason": reason} if reason else None


def _usage(reply: Reply) -> dict[str, object]:
    usage = reply.usage
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
