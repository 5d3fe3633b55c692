"""Attack B111: an agent's request to a model is rebuilt from text and its own tools, or refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import (
    Call,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.backends.closed import require_closed
from agent_runner.backends.failure import ModelServerError
from agent_runner.gateway.asked import Asked, RefusedRequestError
from agent_runner.gateway.chat_api import ChatApi
from agent_runner.gateway.messages_api import MessagesApi
from agent_runner.gateway.responses_api import ResponsesApi
from agent_runner.gateway.schema import function_tool
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.gateway.api import Api

URL = "https://evil.example/x"
PARAMETERS: dict[str, object] = {"type": "object", "properties": {"path": {"type": "string"}}}
CHAT: dict[str, Any] = {
    "model": "main",
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "U"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "read", "arguments": '{"path":"a"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "R"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "read", "description": "D", "parameters": PARAMETERS}}
    ],
    "max_tokens": 5,
    "temperature": 0,
    "stream": False,
    "store": False,
}
MESSAGES: dict[str, Any] = {
    "model": "main",
    "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "U"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "read", "input": {"path": "a"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "R"}]},
    ],
    "tools": [{"name": "read", "description": "D", "input_schema": PARAMETERS}],
    "max_tokens": 5,
}
RESPONSES: dict[str, Any] = {
    "model": "main",
    "instructions": "S",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "U"}]},
        {"type": "function_call", "call_id": "1", "name": "read", "arguments": '{"path":"a"}'},
        {"type": "function_call_output", "call_id": "1", "output": "R"},
    ],
    "tools": [{"type": "function", "name": "read", "description": "D", "parameters": PARAMETERS}],
    "store": False,
}
APIS: dict[str, tuple[Api, dict[str, Any]]] = {
    "chat": (ChatApi(), CHAT),
    "messages": (MessagesApi(), MESSAGES),
    "responses": (ResponsesApi(), RESPONSES),
}


def with_content(part: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Return, for each API, what puts a part into a user's message."""
    message = {"role": "user", "content": [part]}
    return {
        "chat": {"messages": [message]},
        "messages": {"messages": [message]},
        "responses": {"input": [message]},
    }


@pytest.mark.parametrize("name", APIS)
def test_a_request_of_text_and_own_tools_is_rebuilt(name: str) -> None:
    """The positive twin: the same conversation, whichever API it is told in."""
    api, body = APIS[name]

    asked = api.read(json.loads(json.dumps(body)))

    arguments = '{"path": "a"}' if name == "messages" else '{"path":"a"}'
    call = Call(call_id="1", proposal=ToolProposal(tool="read", arguments=arguments))
    assert asked == Asked(
        model="main",
        messages=(
            SystemMessage(text="S"),
            UserMessage(text="U"),
            ModelMessage(reply=Reply(text="", calls=(call,))),
            ObservationMessage(call_id="1", text="R", refused=False),
        ),
        tools=(Tool(name="read", description="D", parameters=PARAMETERS),),
    )


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("chat", {"web_search_options": {}}),
    ("chat", {"store": True}),
    ("chat", {"n": 2}),
    ("chat", {"functions": [{"name": "x"}]}),
    ("chat", {"extra_body": {"a": 1}}),
    ("chat", {"nvext": {"annotations": []}}),
    ("chat", {"modalities": ["audio"], "audio": {"voice": "x"}}),
    ("chat", {"prediction": {"type": "content", "content": "x"}}),
    ("chat", {"tools": [{"type": "function", "function": {"name": "x", "parameters": {"$ref": URL}}}]}),
    ("messages", {"tools": [{"name": "x", "input_schema": {"allOf": [{"$ref": "file:///etc/passwd"}]}}]}),
    ("responses", {"tools": [{"type": "function", "name": "x", "parameters": {"$dynamicRef": "x.json"}}]}),
    ("chat", {"response_format": {"type": "json_schema", "json_schema": {"$ref": URL}}}),
    ("chat", {"stream_options": {"other": 1}}),
    ("chat", {"tools": [{"type": "web_search"}]}),
    ("chat", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
    ("chat", {"tools": [{"type": "function", "function": {"name": "x"}, "url": URL}]}),
    ("chat", {"messages": [{"role": "function", "name": "x", "content": "x"}]}),
    ("chat", {"messages": [{"role": "user", "content": "x", "audio": {"id": "a"}}]}),
    ("chat", {"messages": [{"role": "assistant", "content": "x", "audio": {"id": "a"}}]}),
    ("chat", {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}]}),
    ("messages", {"mcp_servers": [{"type": "url", "url": URL, "name": "x"}]}),
    ("messages", {"container": "c_1"}),
    ("messages", {"context_management": {"edits": []}}),
    ("messages", {"service_tier": "auto"}),
    ("messages", {"output_config": {"format": {"type": "json_schema", "schema": {"$ref": URL}}}}),
    ("messages", {"betas": ["mcp-client-2025-04-04"]}),
    ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("messages", {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
    ("messages", {"tools": [{"type": "code_execution_20250522", "name": "code_execution"}]}),
    ("messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}),
    ("messages", {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}),
    ("messages", {"tools": [{"name": "x", "input_schema": {}, "allowed_callers": ["code_execution"]}]}),
    ("messages", {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "1"}]}]}),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]}),
    ("messages", {"system": [{"type": "text", "text": "x", "citations": {"enabled": True}}]}),
    ("responses", {"previous_response_id": "resp_1"}),
    ("responses", {"conversation": "conv_1"}),
    ("responses", {"background": True}),
    ("responses", {"prompt": {"id": "pmpt_1"}}),
    ("responses", {"include": ["file_search_call.results"]}),
    ("responses", {"tools": [{"type": "web_search"}]}),
    ("responses", {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}),
    ("responses", {"tools": [{"type": "mcp", "server_url": URL}]}),
    ("responses", {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
    ("responses", {"tools": [{"type": "image_generation"}]}),
    ("responses", {"tools": [{"type": "local_shell"}]}),
    ("responses", {"input": [{"type": "item_reference", "id": "i"}]}),
    ("responses", {"input": [{"id": "i"}]}),
    ("responses", {"input": [{"type": "mcp_approval_response", "approve": True}]}),
    ("responses", {"input": [{"type": "computer_call_output", "call_id": "1"}]}),
    *[
        (api, change)
        for part in (
            {"type": "image_url", "image_url": {"url": URL}},
            {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
            {"type": "image", "source": {"type": "url", "url": URL}},
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            {"type": "document", "source": {"type": "url", "url": URL}},
            {"type": "document", "source": {"type": "file", "file_id": "f"}},
            {"type": "search_result", "source": URL},
            {"type": "file", "file": {"file_id": "f"}},
            {"type": "input_image", "image_url": URL},
            {"type": "input_image", "file_id": "f"},
            {"type": "input_file", "file_url": URL},
            {"type": "input_audio", "input_audio": {}},
            {"type": "text", "text": "x", "url": URL},
            {"type": ["text"], "text": "x"},
            {"text": "x"},
        )
        for api, change in with_content(part).items()
    ],
]


WITHIN: dict[str, Any] = {
    "$ref": "#/$defs/x",
    "properties": {"$ref": {"type": "string"}},
    "$defs": {"x": {"type": "object"}},
}


def test_a_schema_may_refer_to_itself_and_nowhere_else() -> None:
    """Many agents' schemas do; a reference elsewhere is refused where it comes in and where it leaves."""
    tool = {"type": "function", "function": {"name": "x", "parameters": WITHIN}}
    body = {"model": "main", "messages": [], "tools": [tool]}

    (read,) = ChatApi().read(body).tools

    assert read.parameters == WITHIN
    require_closed("chat", body)
    require_closed("messages", {"messages": [], "tools": [{"name": "x", "input_schema": WITHIN}]})
    elsewhere = {"items": [{"$ref": "other.json#/x"}]}
    with pytest.raises(ModelServerError, match="refers elsewhere"):
        require_closed("messages", {"messages": [], "tools": [{"name": "x", "input_schema": elsewhere}]})
    tool["function"] = {"name": "x", "parameters": elsewhere}
    with pytest.raises(ModelServerError, match="refers elsewhere"):
        require_closed("chat", body)


def test_what_litellm_adds_to_a_reply_and_sends_back_is_left_out() -> None:
    """mini-swe-agent does so with every reply; what it holds goes nowhere, and another field is refused."""
    said = {"role": "assistant", "content": "x", "provider_specific_fields": {"url": URL}}
    body = {"model": "main", "messages": [said]}

    asked = ChatApi().read(body)

    assert asked.messages == (ModelMessage(reply=Reply(text="x")),)
    with pytest.raises(RefusedRequestError, match="field `provider_fields` of a message"):
        ChatApi().read({**body, "messages": [{**said, "provider_fields": {}}]})


@pytest.mark.parametrize(("name", "change"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_a_server_would_act_on_is_refused_with_its_code(name: str, change: dict[str, Any]) -> None:
    api, body = APIS[name]

    with pytest.raises(RefusedRequestError) as caught:
        api.read({**body, **change})

    assert (caught.value.code, caught.value.status) == ("capability", 400)
    assert caught.value.message.startswith("capability: a request to a model may not hold ")
    assert "evil.example" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", APIS)
def test_no_field_that_is_not_on_the_list_passes(name: str) -> None:
    """A field of tomorrow is refused, too, wherever it stands."""
    api, body = APIS[name]
    turns = "input" if name == "responses" else "messages"
    places = [
        {**body, "tomorrow": 1},
        {**body, turns: [{**body[turns][0], "tomorrow": 1}]},
        {**body, "tools": [{**body["tools"][0], "tomorrow": 1}]},
    ]

    for place in places:
        with pytest.raises(RefusedRequestError, match="field `tomorrow`") as caught:
            api.read(place)
        assert caught.value.code == "capability"


WRONG: list[object] = [
    None,
    [],
    3,
    "x",
    {},
    {"model": 3},
    {"model": "main"},
    {"model": "main", "messages": {}},
]
WRONG += [
    {"model": "main", "messages": [3], "input": [3]},
    {"model": "main", "messages": [{}], "input": [{}]},
]
WRONG += [{"model": "main", "messages": [], "input": [], "tools": [{}]}]
WRONG += [{"model": "main", "messages": [], "input": [], "tool_choice": {"type": "any"}}]
WRONG += [{"model": "main", "messages": [], "input": [], "tool_choice": "required"}]


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("body", WRONG, ids=range(len(WRONG)))
def test_what_is_no_request_is_refused_and_no_fault_of_ours(name: str, body: object) -> None:
    with pytest.raises(RefusedRequestError) as caught:
        APIS[name][0].read(body)

    assert 400 <= caught.value.status < 500


ELSEWHERE: dict[str, dict[str, Any]] = {
    "a dialect of its own": {"$schema": "https://evil.example/m?DATA"},
    "a dialect that only begins as one": {"$schema": "https://json-schema.org/draft-07/schema?DATA"},
    "a dialect of another host": {"$schema": "https://json-schema.org.evil.example/draft-07/schema#"},
    "a dialect further in": {"properties": {"a": {"$schema": "http://evil.example/"}}},
    "a base": {"$id": "http://evil.example/a", "properties": {"x": {"$ref": "#/x"}}},
    "a base that is a path": {"$id": "a.json"},
    "a base of draft 4": {"id": "http://evil.example/a", "properties": {"x": {"$ref": "#/x"}}},
    "a base without scheme": {"items": {"id": "//evil.example/a"}},
    "a base that is a file": {"id": "file:/etc/passwd"},
    "a base in data that is then referred to": {
        "default": {"id": "http://evil.example", "$ref": "#/x"},
        "not": {"$ref": "#/default"},
    },
    "a dynamic reference": {"$dynamicRef": "http://evil.example/a#x"},
    "a recursive reference": {"$recursiveRef": "http://evil.example/"},
    "an anchor that is none": {"$anchor": "http://evil.example/"},
}
HERE: dict[str, dict[str, Any]] = {
    **{
        f"the dialect {name}": {"$schema": f"{name}"}
        for name in (
            "http://json-schema.org/draft-07/schema#",
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/schema",
            "https://json-schema.org/draft/2019-09/schema",
            "https://json-schema.org/draft/2020-12/schema",
        )
    },
    "properties of such names": {
        "properties": {"id": {"type": "string"}, "$schema": {"type": "string"}, "$id": {"type": "string"}},
        "required": ["id", "$schema"],
    },
    "names of its own": {"$id": "#a", "$anchor": "b", "id": "c", "items": {"$dynamicRef": "#b"}},
}


@pytest.mark.parametrize("name", [*ELSEWHERE, *HERE])
def test_a_schema_names_no_place_where_a_server_would_look(name: str) -> None:
    """A dialect is fetched to learn its keywords, and a base turns a reference within into one elsewhere."""
    given = {"type": "object", **{**ELSEWHERE, **HERE}[name]}
    chat = {"messages": [], "tools": [{"type": "function", "function": {"name": "x", "parameters": given}}]}
    messages = {"messages": [], "tools": [{"name": "x", "input_schema": given}]}

    if name in HERE:
        assert function_tool("x", None, given).parameters == given
        require_closed("chat", chat)
        require_closed("messages", messages)
        return
    with pytest.raises(RefusedRequestError, match="refers elsewhere") as caught:
        function_tool("x", None, given)
    assert caught.value.code == "capability"
    with pytest.raises(ModelServerError, match="refers elsewhere"):
        require_closed("chat", chat)
    with pytest.raises(ModelServerError, match="refers elsewhere"):
        require_closed("messages", messages)
