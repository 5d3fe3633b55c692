"""Every parameter that the official SDKs offer, through the SDKs themselves: taken, or refused with a reason.

What each may be is read from the SDKs' own types: a parameter of tomorrow fails here until it is judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import ContentBlockParam, message_count_tokens_params, message_create_params
from openai.types.chat import ChatCompletionContentPartParam, completion_create_params
from openai.types.responses import ResponseInputContentParam, response_create_params

from agent_runner.backends.backend import Reply
from agent_runner.gateway.desk import Desk
from agent_runner.gateway.http import HttpRequest
from tests.agent_runner.gateway.sdk_samples import MARK, label, parameters, variants

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.backends.aloud import Step
    from agent_runner.gateway.asked import Asked
    from agent_runner.gateway.desk import Asker

CODES = {"capability", "unsupported", "invalid_request"}


class Kept:
    """Keep what is asked; `desk.Asker`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def ask(self, asked: Asked, hear: Callable[[Step], None]) -> Reply:  # noqa: ARG002 - the protocol's parameter
        """Say a word."""
        self.asked.append(asked)
        return Reply(text="ok")


class ToDesk(httpx2.AsyncBaseTransport):
    """Bring an SDK's requests to a desk."""

    def __init__(self, asker: Asker) -> None:
        self._desk = Desk(("main",), asker)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one."""
        answer = await self._desk.answer(
            HttpRequest(
                method=request.method,
                target=request.url.raw_path.decode(),
                headers=dict(request.headers),
                body=await request.aread(),
            )
        )
        body = answer.body
        content = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
        headers = {"content-type": answer.content_type, **dict(answer.headers)}
        return httpx2.Response(answer.status, headers=headers, content=content)


TALK = [{"role": "user", "content": "x"}]
Shapes = frozenset[str] | set[str]
Call = tuple[Any, str, dict[str, Any]]
CALLS: dict[str, Call] = {
    "chat": (
        completion_create_params.CompletionCreateParamsBase,
        "chat.completions.create",
        {"messages": TALK},
    ),
    "responses": (response_create_params.ResponseCreateParamsBase, "responses.create", {"input": "x"}),
    "messages": (
        message_create_params.MessageCreateParamsBase,
        "messages.create",
        {"messages": TALK, "max_tokens": 5},
    ),
    "count": (
        message_count_tokens_params.MessageCountTokensParams,
        "messages.count_tokens",
        {"messages": TALK},
    ),
}
YES_NO = frozenset({"True", "False"})
THINKING = frozenset({"enabled", "disabled", "between_tools", "adaptive"})
NUMBER, ONE, TEXT, EMPTY = (frozenset({word}) for word in ("0.5", "1", "text", "{}"))
TOLD = {"messages", "tools", "stop", "input", "instructions", "system", "stop_sequences"}
"""Parameters whose text reaches the model; no other's does."""
COUNTED: dict[str, Shapes] = {
    "cache_control": {"ephemeral"},
    "messages": {"[user]", "[assistant]", "[system]"},
    "output_config": {"{}"},
    "system": {"text", "[text]"},
    "thinking": THINKING,
    "tool_choice": {"auto", "none"},
    "tools": {"[input_schema+name]"},
    "user_profile_id": {"text"},  # these two are headers, which are not read
    "workspace_id": {"text"},
}
TAKEN: dict[str, dict[str, Shapes]] = {
    "chat": {
        **dict.fromkeys(("frequency_penalty", "presence_penalty", "temperature", "top_p"), NUMBER),
        **dict.fromkeys(("max_completion_tokens", "max_tokens", "seed", "n"), ONE),
        **dict.fromkeys(("prompt_cache_key", "safety_identifier", "user"), TEXT),
        "logprobs": {"False"},
        "metadata": {MARK},
        "modalities": {"[text]"},
        "messages": {f"[{role}]" for role in ("developer", "system", "user", "assistant", "tool")},
        "parallel_tool_calls": YES_NO,
        "reasoning_effort": {"none", "minimal", "low", "medium", "high", "xhigh", "max"},
        "response_format": {"text", "json_object"},
        "stop": {"text", "[text]"},
        "store": {"False"},
        "stream_options": {"{}"},
        "tool_choice": {"auto", "none"},
        "tools": {"[function]"},
        "verbosity": {"low", "medium", "high"},
    },
    "responses": {
        **dict.fromkeys(("temperature", "top_p"), NUMBER),
        **dict.fromkeys(("prompt_cache_key", "safety_identifier", "user", "instructions"), TEXT),
        **dict.fromkeys(("reasoning", "stream_options", "text"), EMPTY),
        "include": {"[reasoning.encrypted_content]"},
        "input": {"text", "[user]", "[message]", "[function_call]"},
        "max_output_tokens": {"1"},
        "metadata": {MARK},
        "parallel_tool_calls": YES_NO,
        "store": {"False"},
        "tool_choice": {"auto", "none"},
        "tools": {"[function]"},
        "truncation": {"auto", "disabled"},
    },
    "messages": {
        **COUNTED,
        "max_tokens": {"1"},
        "metadata": {"{}"},
        "stop_sequences": {"[text]"},
    },
    "count": COUNTED,
}


async def outcome(api: str, given: dict[str, Any]) -> tuple[str, str, list[Asked]]:
    """Make a call; return the code and words of its refusal, empty where it is taken, and what was asked."""
    kept = Kept()
    async with httpx2.AsyncClient(transport=ToDesk(kept)) as http:
        sdk: Any = anthropic.AsyncAnthropic(api_key="k", base_url="http://x", http_client=http, max_retries=0)
        if api in {"chat", "responses"}:
            sdk = openai.AsyncOpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=0)
        _, path, least = CALLS[api]
        called = sdk
        for name in path.split("."):
            called = getattr(called, name)
        try:
            await called(**{"model": "main", **least, **given})
        except (openai.BadRequestError, anthropic.BadRequestError) as error:
            body: Any = error.body
            inner = body.get("error", body)
            return str(inner.get("code", inner["message"].partition(":")[0])), inner["message"], kept.asked
    return "", "", kept.asked


@pytest.mark.parametrize("api", CALLS)
async def test_each_parameter_of_the_sdk_is_taken_or_refused_with_its_reason(api: str) -> None:
    """What is refused asks nobody; what is taken and is no word to the model goes nowhere."""
    found: dict[str, set[str]] = {}
    refused: list[str] = []
    strays: list[str] = []
    for name, kind in parameters(CALLS[api][0]).items():
        for value in variants(kind) if name != "model" else ():
            code, words, asked = await outcome(api, {name: value})
            if code:
                refused.append(words)
                strays += [f"{name} asked"] if asked else []
                strays += [f"{name}: {code}"] if code not in CODES and api in {"chat", "responses"} else []
            else:
                found.setdefault(name, set()).add(label(value))
                strays += [name] if name not in TOLD and MARK in repr(asked) else []

    assert found == TAKEN[api]
    assert strays == []
    assert refused
    assert [words for words in refused if "\n" in words or len(words) > 200] == []


PARTS: dict[str, tuple[Any, set[str]]] = {
    "chat": (ChatCompletionContentPartParam, {"text"}),
    "messages": (ContentBlockParam, {"text", "tool_result"}),
    "responses": (ResponseInputContentParam, {"input_text"}),
}


@pytest.mark.parametrize("api", PARTS)
async def test_of_the_parts_of_a_message_only_text_and_results_are_taken(api: str) -> None:
    """Audio, documents and files are not, inline ones included; pictures that are some: `test_pictures`."""
    kind, taken = PARTS[api]
    where = "input" if api == "responses" else "messages"
    found, codes = set(), set()
    for part in variants(kind):
        code, _, asked = await outcome(api, {where: [{"role": "user", "content": [part]}]})
        found |= set() if code else {label(part)}
        codes |= {code} if code else set()
        assert bool(asked) != bool(code)

    assert found == taken
    assert codes - {"a picture is not base64"} == {"capability"}
