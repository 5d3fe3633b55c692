"""No request to a model holds anything but text and client-side function tools (attack B111)."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from agent_runner.backends.anthropic_messages import messages_request
from agent_runner.backends.backend import SystemMessage, UserMessage
from agent_runner.backends.chat_completions import chat_request
from agent_runner.backends.chat_wire import wire_message
from agent_runner.backends.closed import Api, require_closed
from agent_runner.backends.dynamo import Dynamo
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.key import Key
from agent_runner.backends.messages_wire import wire_messages, wire_system
from agent_runner.backends.server import Server
from agent_runner.backends.wire import Door, client_through
from cli_tools.schema import Tool
from policies.units import Count
from tests.contract.model_server import PATHS, ModelServer, Saying, serving

URL = "https://elsewhere.example/x"
CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "x"}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}],
}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 1,
    "messages": [{"role": "user", "content": "x"}],
    "tools": [{"name": "f", "description": "", "input_schema": {}}],
}


def through(server: ModelServer, api: Api) -> httpx2.AsyncClient:
    """Return a client through the door to a server."""
    return client_through(Door(server.base_url(api), api, Key("k" * 8)))


def user(*content: object) -> dict[str, Any]:
    """Return a body's member with these blocks."""
    return {"messages": [{"role": "user", "content": list(content)}]}


def said(*content: object) -> dict[str, Any]:
    """Return a body's member with these blocks of a model's."""
    return {"messages": [{"role": "assistant", "content": list(content)}]}


CHAT_WAYS_OUT: dict[str, dict[str, Any]] = {
    "web search": {"web_search_options": {}},
    "search tool": {"tools": [{"type": "web_search"}]},
    "code interpreter": {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    "connector": {"tools": [{"type": "mcp", "server_url": URL}]},
    "function with more": {"tools": [{"type": "function", "function": {"name": "f", "url": URL}}]},
    "tool with more": {"tools": [{"type": "function", "function": {"name": "f"}, "server_url": URL}]},
    "image by URL": user({"type": "image_url", "image_url": {"url": URL}}),
    "image by file": user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
    "file by id": user({"type": "file", "file": {"file_id": "file-1"}}),
    "video": user({"type": "video_url", "video_url": {"url": URL}}),
    "text with more": user({"type": "text", "text": "x", "url": URL}),
    "stored conversation": {"previous_response_id": "r1"},
    "storing": {"store": True},
    "metadata": {"metadata": {"a": "b"}},
    "engine's own field": {"nvext": {"annotations": []}},
    "another hint": {"nvext": {"agent_hints": {"priority": 1, "url": 2}}},
    "a hint in words": {"nvext": {"agent_hints": {"priority": URL}}},
    "more than timings": {"nvext": {"extra_fields": ["timing", "engine_data"]}},
    "guided by a URL": {"guided_json": URL},
    "unknown field": {"anything": 1},
    "role": {"messages": [{"role": "developer", "content": "x"}]},
    "message with more": {"messages": [{"role": "user", "content": "x", "name": "n", "audio": {"id": "1"}}]},
    "call with more": {"messages": [{"role": "assistant", "tool_calls": [{"type": "mcp"}]}]},
    "a thought of the user's": {"messages": [{"role": "user", "content": "x", "reasoning_content": "y"}]},
    "a thought that is no text": {"messages": [{"role": "assistant", "reasoning_content": {"url": URL}}]},
    "no object": {"messages": ["x"]},
    "no list": {"messages": {"0": "x"}},
    "usage with more": {"stream_options": {"include_usage": True, "more": 1}},
}
MESSAGES_WAYS_OUT: dict[str, dict[str, Any]] = {
    "connector": {"mcp_servers": [{"type": "url", "url": URL}]},
    "a thought of the user's": user({"type": "thinking", "thinking": "x", "signature": "y"}),
    "a thought with more": said({"type": "thinking", "thinking": "x", "signature": "y", "url": URL}),
    "a thought that is no text": said({"type": "thinking", "thinking": "x", "signature": {"url": URL}}),
    "a sealed thought that is no text": said({"type": "redacted_thinking", "data": {"file_id": "f"}}),
    "container": {"container": "c1"},
    "web search": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "web fetch": {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
    "code execution": {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
    "tool with more": {"tools": [{"name": "f", "input_schema": {}, "allowed_callers": ["code"]}]},
    "image by URL": user({"type": "image", "source": {"type": "url", "url": URL}}),
    "document by URL": user({"type": "document", "source": {"type": "url", "url": URL}}),
    "file by id": user({"type": "document", "source": {"type": "file", "file_id": "f"}}),
    "server's result": user({"type": "web_search_tool_result", "tool_use_id": "x", "content": []}),
    "image in a result": user(
        {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "image", "source": {"url": URL}}]}
    ),
    "metadata": {"metadata": {"user_id": "b"}},
    "image in system": {"system": [{"type": "image", "source": {"type": "url", "url": URL}}]},
    "cache with more": {"cache_control": {"type": "ephemeral", "url": URL}},
    "role": {"messages": [{"role": "system", "content": "x"}]},
    "no object": {"messages": [1]},
}
ALL = [("chat", name, more) for name, more in CHAT_WAYS_OUT.items()]
ALL += [("messages", name, more) for name, more in MESSAGES_WAYS_OUT.items()]


@pytest.mark.parametrize(("api", "more"), [(a, m) for a, _, m in ALL], ids=[f"{a}: {n}" for a, n, _ in ALL])
async def test_a_way_out_in_a_request_is_refused_before_it_leaves(api: Api, more: dict[str, Any]) -> None:
    body = {**(CHAT if api == "chat" else MESSAGES), **more}
    async with serving(Saying().play(api)) as server, through(server, api) as client:
        with pytest.raises(ModelServerError) as caught:
            await client.post(f"{server.origin}{PATHS[api]}", json=body)
        good = await client.post(f"{server.origin}{PATHS[api]}", json=CHAT if api == "chat" else MESSAGES)

    assert caught.value.failure.kind == "capability"
    assert caught.value.message.startswith("capability: a request to a model may not hold ")
    assert good.status_code == 200
    assert len(server.asked) == 1


OTHERS = [
    ("POST", "/v1/responses"),
    ("POST", "/v1/files"),
    ("POST", "/v1/chat/completions?x=1"),
    ("POST", "/v1/chat/completions/"),
    ("PUT", "/v1/chat/completions"),
    ("GET", "/v1/chat/completions"),
    ("GET", "/v1/models/../files"),
    ("GET", "/metrics"),
    ("DELETE", "/v1/models/m"),
]


@pytest.mark.parametrize(("method", "path"), OTHERS)
async def test_no_other_path_of_the_server_is_reached(method: str, path: str) -> None:
    async with serving(Saying().play("chat")) as server, through(server, "chat") as client:
        with pytest.raises(ModelServerError) as caught:
            await client.request(method, f"{server.origin}{path}", json=CHAT)
        await client.get(f"{server.origin}/v1/models")

    assert caught.value.failure.kind == "capability"
    assert [asked.path for asked in server.asked] == ["/v1/models"]


async def test_the_key_is_bound_to_the_origin() -> None:
    play = Saying().play("chat")
    async with serving(play) as thief, serving(play) as server, through(server, "chat") as client:
        for origin in (thief.origin, server.origin.replace("http", "https"), "http://localhost"):
            with pytest.raises(ModelServerError) as caught:
                await client.post(f"{origin}/v1/chat/completions", json=CHAT)
            assert caught.value.failure.kind == "capability"

    assert (server.asked, thief.asked) == ([], [])


async def test_a_header_that_nobody_asked_for_does_not_leave() -> None:
    headers = {"anthropic-beta": "mcp", "cookie": "a=b", "x-stainless-os": "Linux", "x-y": "z"}
    async with serving(Saying().play("chat")) as server, through(server, "chat") as client:
        await client.post(f"{server.base_url('chat')}/chat/completions", json=CHAT, headers=headers)

    assert headers.keys() & server.asked[0].headers.keys() == set()


def test_what_the_backends_write_is_within_the_schema() -> None:
    talk = (SystemMessage(text="s"), UserMessage(text="u"))
    tools = (Tool(name="f", description="d", parameters={"type": "object", "properties": {}}),)
    for more in ({}, {"output_tokens": 5, "parallel_calls": False, "stream": False}):
        server = Server(base_url="http://127.0.0.1/v1", model="m", **more)
        chat = chat_request(server, [wire_message(message) for message in talk], tools)
        system = wire_system(talk, prompt_cache=True)
        messages = messages_request(server, system, wire_messages(talk), tools)
        require_closed("chat", json.loads(json.dumps(chat)))
        require_closed("messages", json.loads(json.dumps(messages)))


def test_hints_for_dynamo_are_within_the_schema() -> None:
    """The positive twin: numbers for its scheduler, and only where the operator configured them."""
    hints = Dynamo(priority=-3, expected_output=Count(9), speculative_prefill=True)
    talk = (wire_message(UserMessage(text="u")),)
    told = chat_request(Server(base_url="http://127.0.0.1/v1", model="m", dynamo=hints), talk, ())
    untold = chat_request(Server(base_url="http://127.0.0.1/v1", model="m"), talk, ())

    require_closed("chat", told)
    assert told["nvext"] == {
        "agent_hints": {"priority": -3, "osl": 9, "speculative_prefill": True},
        "extra_fields": ["timing"],
    }
    assert "nvext" not in untold


def test_the_library_that_carries_requests_is_the_one_that_the_door_is_made_for() -> None:
    """The SDKs take any client; were theirs another library's, our door would not be in the way."""
    from anthropic import _base_client as theirs
    from openai import _base_client as ours

    assert theirs.httpx2 is httpx2
    assert ours.httpx2 is httpx2
