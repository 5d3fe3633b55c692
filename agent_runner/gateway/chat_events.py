"""Tell a reply as chunks of OpenAI's chat completions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from agent_runner.backends.aloud import ArgumentsTold, CallTold, Step, TextTold
from agent_runner.gateway.asked import RefusedRequestError, ended, openai_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_runner.backends.backend import Reply


class ChatEvents:
    """The chunks of one reply; `api.Events`.

    Args:
        head: What every chunk begins with.
        counted: Whether the last one tells the tokens; it has no choice in it, which few readers expect.
    """

    def __init__(self, head: Mapping[str, object], *, counted: bool) -> None:
        self._head = head
        self._counted = counted
        self._begun = False
        self._calls = 0

    def step(self, step: Step) -> Iterator[bytes]:
        """Yield the chunks of a step."""
        yield from self._beginning()
        match step:
            case TextTold(text=text):
                yield self._chunk({"content": text})
            case CallTold(call_id=call_id, name=name):
                function = {"name": name, "arguments": ""}
                made = {"index": self._calls, "id": call_id, "type": "function", "function": function}
                self._calls += 1
                yield self._chunk({"tool_calls": [made]})
            case ArgumentsTold(text=text):
                more = {"index": self._calls - 1, "function": {"arguments": text}}
                yield self._chunk({"tool_calls": [more]})
            case _:
                assert_never(step)

    def end(self, reply: Reply) -> Iterator[bytes]:
        """Yield the chunks of the end."""
        yield from self._beginning()
        yield self._chunk({}, finish_reason(reply))
        if self._counted:
            yield _event({**self._head, "choices": [], "usage": usage_told(reply)})
        yield b"data: [DONE]\n\n"

    def broken(self, error: RefusedRequestError) -> bytes:
        """Return an error chunk."""
        return _event(openai_error(error))

    def _beginning(self) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: Mapping[str, object], finish: str | None = None) -> bytes:
        return _event({**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def finish_reason(reply: Reply) -> str:
    """Return why the model stopped, in this API's word."""
    by_itself = "tool_calls" if reply.calls else "stop"
    return {"whole": by_itself, "cut": "length", "withheld": "content_filter"}[ended(reply)]


def usage_told(reply: Reply) -> dict[str, object]:
    """Return the tokens of a reply as this API tells them."""
    usage = reply.usage
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
