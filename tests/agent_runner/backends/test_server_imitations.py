"""Servers imitated piece by piece, as they were seen to answer; each is checked as `model check` does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import UserMessage
from agent_runner.backends.check import check
from tests.contract.asking import TALK, TOOL, after, asked, backend_for, refused
from tests.contract.model_server import Asked, Line, answer, data, serving, stream

if TYPE_CHECKING:
    from agent_runner.backends.backend import Reply
    from agent_runner.backends.check import Finding

WORD = {"word": "ready"}
WORDS = ("too long", "no such", "bad", "required", "does not support tools", "Loading model")


@dataclass(frozen=True)
class Imitation:
    """A server, as far as a session meets it."""

    listed: dict[str, Any]
    """What it says of its model."""
    says: tuple[object, ...]
    """Its chunks for the word that is asked for."""
    calls: tuple[object, ...]
    """Its chunks for the call that is asked for."""
    error: tuple[int, object]
    """How it refuses a request."""
    context: str
    cached: str
    """What `model check` says of its cache."""
    done: bool = True
    """Whether `[DONE]` ends its streams."""

    async def play(self, line: Line, asked: Asked) -> None:
        """Answer a request."""
        if asked.method == "GET":
            await answer(200, {"object": "list", "data": [self.listed]})(line, asked)
            return
        last = json.loads(asked.body)["messages"][-1]["content"]
        chunks = self.calls if "Call the tool" in last else self.says
        await stream(*map(data, chunks), *(["data: [DONE]\n\n"] if self.done else []))(line, asked)


def chunk(delta: object, finish: str | None = None, **more: object) -> dict[str, object]:
    """Return one chunk with a choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more}


def usage(details: object = None, **more: object) -> dict[str, object]:
    """Return the chunk after the last choice."""
    counted = {"prompt_tokens": 2000, "completion_tokens": 3, "prompt_tokens_details": details}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": counted, **more}


def function(name: str | None, arguments: object, **more: object) -> dict[str, object]:
    """Return a delta with a piece of a call."""
    return {"tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}, **more}]}


SAYS = (chunk({"role": "assistant", "content": ""}), chunk({"content": "ready"}), chunk({}, "stop"))
BY_PIECES = (
    chunk(function("report", "", index=0, id="chatcmpl-tool-1")),
    chunk(function(None, '{"word": ', index=0)),
    chunk(function(None, '"ready"}', index=0)),
    chunk({}, "tool_calls"),
)
NOT_TOLD = "0 of 2000 tokens came from its cache the second time; some servers tell only when asked to"
CACHED = "1984 of 2000 tokens came from its cache the second time"
IMITATIONS = {
    "vLLM": Imitation(
        listed={"id": "m", "object": "model", "owned_by": "vllm", "root": "m", "max_model_len": 40960},
        says=(*SAYS, usage({"cached_tokens": 1984})),
        calls=(
            chunk({"role": "assistant", "reasoning_content": "I call it."}),
            chunk(function("report", None, index=0, id="chatcmpl-tool-1")),
            chunk(function(None, '{"word": "re', index=0, id="chatcmpl-tool-2")),
            chunk(function(None, 'ady"}', index=0, id="chatcmpl-tool-3")),
            chunk({}, "tool_calls", stop_reason=None),
            usage({"cached_tokens": 1984}),
        ),
        error=(400, {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400}),
        context="40960 tokens",
        cached=CACHED,
    ),
    "vLLM that was not told to count": Imitation(
        listed={"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 40960},
        says=(*SAYS, usage(None)),
        calls=(*BY_PIECES, usage(None)),
        error=(404, {"error": {"message": "no such model", "type": "NotFoundError", "code": 404}}),
        context="40960 tokens",
        cached=NOT_TOLD,
    ),
    "SGLang": Imitation(
        listed={"id": "m", "object": "model", "owned_by": "sglang", "root": "m", "max_model_len": 32768},
        says=(*SAYS, usage({"cached_tokens": 1984})),
        calls=(
            chunk(function("report", "", index=0, id="call_0")),
            chunk(function(None, '{"word": "ready"}', index=0, id=None)),
            chunk({"content": None, "tool_calls": None}, "tool_calls", matched_stop=None),
            usage({"cached_tokens": 1984}),
        ),
        error=(400, {"object": "error", "message": "bad", "type": "BadRequest", "param": None, "code": 400}),
        context="32768 tokens",
        cached=CACHED,
    ),
    "TensorRT-LLM": Imitation(
        listed={"id": "m", "object": "model", "owned_by": "tensorrt_llm"},
        says=(*SAYS, usage({"cached_tokens": 1984})),
        calls=(*BY_PIECES, usage({"cached_tokens": 1984})),
        error=(400, {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}),
        context="not told",
        cached=CACHED,
    ),
    "NIM": Imitation(
        listed={"id": "m", "object": "model", "owned_by": "system", "root": "m", "max_model_len": 131072},
        says=(*SAYS, usage({"cached_tokens": 1984})),
        calls=(*BY_PIECES, usage({"cached_tokens": 1984})),
        error=(422, {"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]}),
        context="131072 tokens",
        cached=CACHED,
    ),
    "Ollama": Imitation(
        listed={"id": "m", "object": "model", "created": 1, "owned_by": "library"},
        says=(*SAYS, usage(None)),
        calls=(
            chunk({"role": "assistant", "content": "", "reasoning": "I call it."}),
            chunk(
                {
                    "role": "assistant",
                    "content": "",
                    **function("report", '{"word":"ready"}', id="call_x1", index=0),
                }
            ),
            chunk({"role": "assistant", "content": ""}, "tool_calls"),
            usage(None),
        ),
        error=(400, {"error": "m does not support tools"}),
        context="not told",
        cached=NOT_TOLD,
    ),
    "llama.cpp": Imitation(
        listed={"id": "m", "object": "model", "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192}},
        says=(*SAYS, usage(None, timings={"cache_n": 1984, "prompt_n": 16})),
        calls=(
            chunk(function("report", "{", index=0, id="")),
            chunk(function(None, '"word":"ready"}', index=0)),
            chunk({}, "tool_calls", timings={"cache_n": 1984, "prompt_n": 16}),
            usage(None, timings={"cache_n": 1984, "prompt_n": 16}),
        ),
        error=(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
        context="8192 tokens",
        cached=CACHED,
    ),
}


@pytest.mark.parametrize("name", IMITATIONS)
async def test_model_check_says_of_each_server_what_is_so(name: str) -> None:
    imitation = IMITATIONS[name]
    async with serving(imitation.play) as server:
        backend = backend_for(server, "chat")
        found: dict[str, Finding] = {each.name: each async for each in check(backend)}
        await backend.close()

    assert (found["listed"].standing, found["listed"].text) == ("yes", "`m`")
    assert found["context"].text.startswith(imitation.context)
    assert found["answers"].standing == found["streams"].standing == "yes"
    assert found["streams"].text.startswith("the first piece after ")
    assert found["counts"].text == "2000 tokens in, 3 out"
    assert (found["tools"].standing, found["tools"].text) == ("yes", "called as asked")
    assert found["keeps prefix"].text.startswith(imitation.cached)


@pytest.mark.parametrize("name", IMITATIONS)
async def test_its_refusal_is_one_line_in_its_own_words(name: str) -> None:
    status, body = IMITATIONS[name].error
    async with serving(answer(status, body)) as server:
        error = await refused(backend_for(server, "chat"))

    assert error.failure.status == status
    assert f"answered {status}: " in error.message
    assert any(
        word in error.message for word in ("too long", "no such", "bad", "required", "tools", "Loading")
    )


@pytest.mark.parametrize("name", IMITATIONS)
async def test_a_conversation_goes_on_and_no_two_calls_have_one_id(name: str) -> None:
    """Servers begin their ids again in every reply, or give none."""
    imitation = IMITATIONS[name]

    async def calls(line: Line, asked: Asked) -> None:
        await stream(*map(data, imitation.calls), "data: [DONE]\n\n")(line, asked)

    async with serving(calls) as server:
        first: Reply = await asked(backend_for(server, "chat"))
        second = await asked(
            backend_for(server, "chat"), (*TALK, *after(first, "ok"), UserMessage(text="on"))
        )

    sent = server.asked[1].json["messages"]
    assert len({call.call_id for reply in (first, second) for call in reply.calls}) == 2
    assert sent[3]["tool_call_id"] == sent[2]["tool_calls"][0]["id"]
    assert json.loads(sent[2]["tool_calls"][0]["function"]["arguments"]) == WORD
    assert [tool["function"]["name"] for tool in server.asked[1].json["tools"]] == [TOOL.name]
