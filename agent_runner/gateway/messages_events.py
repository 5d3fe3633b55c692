"""Tell a reply as the events of Anthropic's messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from agent_runner.backends.aloud import ArgumentsTold, CallTold, Step, TextTold
from agent_runner.gateway.asked import ended, stopped_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_runner.backends.backend import Reply
    from agent_runner.gateway.asked import RefusedRequestError

_ERRORS = {
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
}


class MessagesEvents:
    """The events of one reply; `api.Events`.

    Args:
        head: The message without its content.
        stops: Texts before which the reply is cut.
        input_tokens: How many the question may have: told at the start, before the server has counted.
    """

    def __init__(self, head: Mapping[str, object], stops: tuple[str, ...], *, input_tokens: int) -> None:
        self._head = head
        self._stops = stops
        self._input_tokens = input_tokens
        self._begun = False
        self._index = 0
        self._open = ""

    def step(self, step: Step) -> Iterator[bytes]:
        """Yield the events of a step."""
        yield from self._beginning()
        match step:
            case TextTold(text=text):
                if self._open != "text":
                    yield from self._block({"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            case CallTold(call_id=call_id, name=name):
                yield from self._block({"type": "tool_use", "id": call_id, "name": name, "input": {}})
            case ArgumentsTold(text=text):
                yield self._delta({"type": "input_json_delta", "partial_json": text})
            case _:
                assert_never(step)

    def end(self, reply: Reply) -> Iterator[bytes]:
        """Yield the events of the end."""
        yield from self._beginning()
        yield from self._closed()
        delta = stop_told(reply, self._stops)
        yield _event({"type": "message_delta", "delta": delta, "usage": usage_told(reply)})
        yield _event({"type": "message_stop"})

    def broken(self, error: RefusedRequestError) -> bytes:
        """Return the API's error event."""
        return _event(error_told(error))

    def _beginning(self) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            usage = {"input_tokens": self._input_tokens, "output_tokens": 0}
            unended = {"stop_reason": None, "stop_sequence": None}
            start = {**self._head, "content": [], **unended, "usage": usage}
            yield _event({"type": "message_start", "message": start})

    def _block(self, block: Mapping[str, object]) -> Iterator[bytes]:
        yield from self._closed()
        self._open = str(block["type"])
        yield _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _closed(self) -> Iterator[bytes]:
        if self._open:
            yield _event({"type": "content_block_stop", "index": self._index})
            self._open = ""
            self._index += 1

    def _delta(self, delta: Mapping[str, object]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})


def stop_told(reply: Reply, stops: tuple[str, ...]) -> dict[str, object]:
    """Return why the model stopped, in this API's words, and which of the agent's stops ended it."""
    stop = stopped_by(reply, stops)
    by_itself = "tool_use" if reply.calls else "end_turn"
    why = {"whole": by_itself, "cut": "max_tokens", "withheld": "refusal"}[ended(reply)]
    return {"stop_reason": why if stop is None else "stop_sequence", "stop_sequence": stop}


def usage_told(reply: Reply) -> dict[str, object]:
    """Return the tokens of a reply as this API tells them."""
    usage = reply.usage
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.output_tokens,
    }


def error_told(error: RefusedRequestError) -> dict[str, object]:
    """Return an error as this API tells it."""
    kind = _ERRORS.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def _event(value: Mapping[str, object]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()
