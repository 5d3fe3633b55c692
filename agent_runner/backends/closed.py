"""Hold the closed schema of requests to a model: text, pictures in it, function tools, and nothing else.

A provider's servers act on the fields of a request: they search the web, fetch URLs, run code, keep
conversations. A request that asks for any of it would be a way out of a session, so each request is checked
against this list just before it leaves, whatever built it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from agent_runner.backends.dynamo import EXTRA_FIELDS, HINTS
from agent_runner.backends.failure import Failure, ModelServerError, one_line
from agent_runner.backends.media import media_of, media_of_url
from agent_runner.backends.references import refers_elsewhere

Api = Literal["chat", "messages"]
Fields = frozenset[str]

_TOP: Final[dict[Api, Fields]] = {
    "chat": frozenset(
        {"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options"}
        | {"max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "nvext"}
        | {"response_format"}
    ),
    "messages": frozenset(
        {"model", "messages", "tools", "tool_choice", "stream", "system", "max_tokens", "cache_control"}
        | {"temperature", "top_p", "stop_sequences", "output_config"}
    ),
}
_CHAT_MESSAGE: Final[dict[object, Fields]] = {
    "system": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "reasoning_content"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
_THOUGHTS: Final = ("thinking", "redacted_thinking")
_BLOCK: Final[dict[object, Fields]] = {
    "text": frozenset({"type", "text", "cache_control"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "image_url": frozenset({"type", "image_url"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
}
_SAID: Final[dict[object, tuple[str, ...]]] = {
    "user": ("text", "image", "tool_result"),
    "assistant": ("text", "tool_use", *_THOUGHTS),
}
_CHAT_TOOL: Final = frozenset({"type", "function"})
_FUNCTION: Final = frozenset({"name", "description", "parameters", "strict"})
_CALLED: Final = frozenset({"name", "arguments"})
_FORMAT: Final = frozenset({"name", "description", "schema", "strict"})
_TOOL: Final = frozenset({"type", "name", "description", "input_schema", "cache_control"})
_CHOICE: Final = frozenset({"type", "name", "function", "disable_parallel_tool_use"})
_SOURCE: Final = frozenset({"type", "media_type", "data"})
_CACHE_CONTROL: Final = frozenset({"type", "ttl"})


def require_closed(api: Api, body: object) -> None:
    """Refuse a request that holds anything but text, pictures in it and client-side function tools.

    Args:
        api: `chat` for OpenAI's chat completions, `messages` for Anthropic's messages.
        body: The request's body as parsed JSON.

    Raises:
        ModelServerError: When it holds anything else, of kind `capability`; nothing was sent.
    """
    request = _object(body, "request")
    _only(request, _TOP[api], "request")
    _only(_object(request.get("stream_options", {}), "stream_options"), frozenset({"include_usage"}), "")
    _cache(request)
    _dynamo(_object(request.get("nvext", {}), "nvext"))
    for message in _list(request.get("messages"), "messages"):
        _chat_message(message) if api == "chat" else _message(message)
    for tool in _list(request.get("tools", []), "tools"):
        _chat_tool(tool) if api == "chat" else _tool(tool)
    _choice(request.get("tool_choice"))
    _reply_format(request)
    system = request.get("system", "")
    if not isinstance(system, str):
        _blocks(system, "system", allowed=("text",))


def _dynamo(given: Mapping[str, object]) -> None:
    """Let hints to a scheduler pass, each a number or a yes: they hold no text and name no place."""
    _only(given, frozenset({"agent_hints", "extra_fields"}), "nvext")
    hints = _object(given.get("agent_hints", {}), "agent_hints")
    _only(hints, HINTS, "agent_hints")
    if not all(isinstance(hint, int) for hint in hints.values()):
        raise _refused("agent_hints that are no numbers")
    if given.get("extra_fields", list(EXTRA_FIELDS)) != list(EXTRA_FIELDS):
        raise _refused("such `extra_fields`")


def _chat_message(message: object) -> None:
    message = _object(message, "message")
    role = str(message.get("role"))
    if role not in _CHAT_MESSAGE:
        raise _refused(f"role `{role}`")
    _only(message, _CHAT_MESSAGE[role], "message")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        _blocks(content, "content", allowed=("text", "image_url") if role == "user" else ("text",))
    if not isinstance(message.get("reasoning_content", ""), str):
        raise _refused("`reasoning_content` that is no text")
    for call in _list(message.get("tool_calls", []), "tool_calls"):
        call = _object(call, "tool_call")  # noqa: PLW2901 - the same value, seen to be an object
        _only(call, frozenset({"id", "type", "function"}), "tool_call")
        _function_type(call)
        _only(_object(call.get("function"), "function"), _CALLED, "function")


def _message(message: object) -> None:
    message = _object(message, "message")
    _only(message, frozenset({"role", "content"}), "message")
    if str(message.get("role")) not in _SAID:
        raise _refused(f"role `{message.get('role')}`")
    if not isinstance(message.get("content"), str):
        _blocks(message.get("content"), "content", allowed=_SAID[message.get("role")])


def _blocks(content: object, where: str, *, allowed: tuple[object, ...]) -> None:
    for block in _list(content, where):
        block = _object(block, where)  # noqa: PLW2901 - the same value, seen to be an object
        kind = str(block.get("type"))
        if kind not in allowed:
            raise _refused(f"{where} of type `{kind}`")
        _only(block, _BLOCK[kind], where)
        _cache(block)
        if kind in {"image", "image_url"}:
            _picture(block)
        if kind == "text" and not isinstance(block.get("text"), str):
            raise _refused(f"{where} whose text is none")
        if kind in _THOUGHTS and not all(isinstance(value, str) for value in block.values()):
            raise _refused(f"{where} of type `{kind}` that is no text")
        if kind == "tool_result" and not isinstance(block.get("content", ""), str):
            _blocks(block.get("content"), where, allowed=("text",))


def _picture(block: Mapping[str, object]) -> None:
    """Refuse a picture that is not the bytes that stand there, written in the one way that we write them."""
    try:
        if block["type"] == "image":
            source = _object(block.get("source"), "source")
            _only(source, _SOURCE, "source")
            same = source.get("type") == "base64"
            same = same and media_of(source.get("media_type"), source.get("data")).data == source.get("data")
        else:
            image = _object(block.get("image_url"), "image_url")
            _only(image, frozenset({"url"}), "image_url")
            same = media_of_url(str(image.get("url"))).url == image.get("url")
    except ValueError as error:
        raise _refused(f"a picture as a server would fetch it: {error}") from error
    if not same:
        raise _refused("a picture that is written otherwise than its bytes")


def _chat_tool(tool: object) -> None:
    tool = _object(tool, "tool")
    _only(tool, _CHAT_TOOL, "tool")
    _function_type(tool)
    function = _object(tool.get("function"), "function")
    _only(function, _FUNCTION, "function")
    _own_schema(function.get("parameters"))


def _function_type(value: Mapping[str, object]) -> None:
    if value.get("type") != "function":
        raise _refused(f"a tool of type `{value.get('type')}`, expected `function`")


def _tool(tool: object) -> None:
    tool = _object(tool, "tool")
    if tool.get("type", "custom") != "custom":
        raise _refused(f"a tool of type `{tool.get('type')}`, which the server would run")
    _only(tool, _TOOL, "tool")
    _own_schema(tool.get("input_schema"))
    _cache(tool)


def _choice(given: object) -> None:
    """Let the name of a tool pass, or a word; a server's own tool could be chosen as well."""
    if given in (None, "auto", "none", "required"):
        return
    choice = _object(given, "tool_choice")
    _only(choice, _CHOICE, "tool_choice")
    if choice.get("type") not in {"auto", "any", "none", "tool", "function"}:
        raise _refused("such a `tool_choice`")
    _only(_object(choice.get("function", {}), "function"), frozenset({"name"}), "function")


def _reply_format(request: Mapping[str, object]) -> None:
    """Let JSON pass, by a schema or any; a server makes its model speak so, and does nothing else."""
    if "response_format" in request:
        given = _object(request["response_format"], "response_format")
        if given != {"type": "json_object"}:
            _only(given, frozenset({"type", "json_schema"}), "response_format")
            _schema_format(given, _object(given.get("json_schema"), "json_schema"), _FORMAT)
    if "output_config" in request:
        config = _object(request["output_config"], "output_config")
        _only(config, frozenset({"format"}), "output_config")
        form = _object(config.get("format"), "format")
        _schema_format(form, form, frozenset({"type", "schema"}))


def _schema_format(given: Mapping[str, object], inner: Mapping[str, object], allowed: Fields) -> None:
    _only(inner, allowed, "format")
    if given.get("type") != "json_schema":
        raise _refused(f"a format of type `{given.get('type')}`")
    words = isinstance(inner.get("name", ""), str) and isinstance(inner.get("description", ""), str)
    if not words or not isinstance(inner.get("strict", False), bool):
        raise _refused("such a format")
    _own_schema(_object(inner.get("schema"), "schema"))


def _own_schema(schema: object) -> None:
    if refers_elsewhere(schema):
        raise _refused("a schema that refers elsewhere: the server may fetch it")


def _cache(value: Mapping[str, object]) -> None:
    mark = _object(value.get("cache_control", {}), "cache_control")
    _only(mark, _CACHE_CONTROL, "cache_control")


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _refused(f"{where} that is no object")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise _refused(f"{where} that is no list")
    return value


def _only(value: Mapping[str, object], allowed: Fields, where: str) -> None:
    if extra := sorted(map(str, value.keys() - allowed)):
        raise _refused(f"field `{extra[0]}`" + (f" of a {where}" if where else ""))


def _refused(what: str) -> ModelServerError:
    return ModelServerError(
        f"capability: a request to a model may not hold {one_line(what)}",
        failure=Failure(kind="capability"),
        hint="only text and tools that pairlock itself acts on are ever sent",
    )
