"""Bodies that are small on the wire and large once read: refused before they are."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent_runner.backends.backend import ModelMessage, Reply, UserMessage
from agent_runner.backends.messages_wire import wire_messages
from agent_runner.gateway import desk, schema
from agent_runner.gateway.asked import Asked, RefusedRequestError, too_large
from agent_runner.gateway.chat_api import ChatApi
from agent_runner.gateway.crossing import question_bytes, question_of
from agent_runner.gateway.desk import Desk
from agent_runner.gateway.http import HttpRequest
from agent_runner.gateway.messages_api import MessagesApi
from agent_runner.gateway.parser import Runner
from agent_runner.gateway.responses_api import ResponsesApi

if TYPE_CHECKING:
    from agent_runner.gateway.api import Api

MOST_BYTES = 30 * 1024 * 1024
BODY_BYTES = 8 * 1024 * 1024
BOMBS = {
    "lists": b"[" + b"[]," * (BODY_BYTES // 3) + b"[]]",
    "objects": b"[" + b"{}," * (BODY_BYTES // 3) + b"{}]",
    "numbers": b"[" + b"1," * (BODY_BYTES // 2) + b"1]",
    "texts": b"[" + b'"",' * (BODY_BYTES // 3) + b'""]',
    "members": b"{" + b",".join(b'"%x":1' % number for number in range(500_000)) + b"}",
    "behind an escaped quote": b'["\\"", "\\\\\\"", "\\\\",' + b"[]," * (BODY_BYTES // 3) + b"[]]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_body_of_too_many_values_is_refused_before_one_is_made(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RefusedRequestError) as refused:
            desk._parsed(BOMBS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert refused.value.status == 413
    assert peak < MOST_BYTES


def test_the_largest_bodies_that_are_read_stay_small() -> None:
    """The positive twin: code with all its commas, brackets and quotes counts as the one text that it is."""
    code = "f(a, b)[0]: {'x': \"\\\\\"}, " * 150_000
    values: list[Any] = [[1, {"a": "b"}]] * 20_000

    for value in (code, values):
        body = json.dumps([value]).encode()
        tracemalloc.start()
        found = desk._parsed(body)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == [value]
        assert peak < MOST_BYTES


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
def test_no_other_encoding_hides_values_from_the_count(encoding: str) -> None:
    with pytest.raises(RefusedRequestError):
        desk._parsed('["\\"", 1]'.encode(encoding))


async def test_counting_tokens_is_bounded_as_a_question_is() -> None:
    bomb = b'{"model": "main", "messages": ' + BOMBS["lists"] + b"}"
    request = HttpRequest(method="POST", target="/v1/messages/count_tokens", headers={}, body=bomb)

    answer = await Desk(("main",), cast("Any", None)).answer(request)

    assert answer.status == 413


RESULT = {"type": "tool_result", "tool_use_id": "1", "content": "R"}


def requests(results: int) -> dict[str, tuple[Api, dict[str, Any]]]:
    """Return requests with one message before so many results."""
    heard = [{"role": "user", "content": [RESULT] * (results // 2)}] * 2
    outputs = [{"type": "function_call_output", "call_id": "1", "output": "R"}] * results
    return {
        "messages": (MessagesApi(), {"model": "main", "system": "S", "messages": heard}),
        "responses": (ResponsesApi(), {"model": "main", "instructions": "S", "input": outputs}),
    }


@pytest.mark.parametrize("name", ["messages", "responses"])
def test_a_request_of_more_messages_than_may_cross_is_refused(name: str) -> None:
    """A message of Anthropic's API may hold many results, and instructions are one message more."""
    api, body = requests(schema.MOST_MESSAGES)[name]

    with pytest.raises(RefusedRequestError) as refused:
        api.read(body)

    assert (refused.value.status, refused.value.code) == (413, "request_too_large")
    api, body = requests(schema.MOST_MESSAGES - 2)[name]
    assert question_bytes(api.read(body))


async def test_a_question_that_may_not_cross_is_refused_and_ends_no_connection() -> None:
    """The last word, where a request was read that is larger than the runner takes."""
    asked = Asked(model="main", messages=(UserMessage(text="x"),) * (schema.MOST_MESSAGES + 1))

    with pytest.raises(RefusedRequestError) as refused:
        await Runner(cast("Any", None)).ask(asked, lambda _: None)

    assert (refused.value.status, refused.value.code) == (413, "request_too_large")


SURROGATE = "\ud800"


@pytest.mark.parametrize(
    ("api", "field"), [(ChatApi(), "stop"), (MessagesApi(), "stop_sequences")], ids=["chat", "messages"]
)
def test_a_stop_is_as_long_as_it_is_written(api: Api, field: str) -> None:
    """Half of a pair is one character of JSON's and six of what crosses."""
    body = {"model": "main", "messages": []}

    with pytest.raises(RefusedRequestError, match="has more than 256 characters"):
        api.read({**body, field: [SURROGATE * 43]})

    asked = api.read({**body, field: [SURROGATE * 42]})
    assert asked.stops == ("\\ud800" * 42,)
    assert question_of(question_bytes(asked)) == asked


def test_half_of_a_pair_in_a_calls_arguments_is_sent_on_as_an_escape() -> None:
    """It would fail every later request of the session, in which it stands for good."""
    made = schema.call("1", "read", '{"path": "\\ud800"}')

    wire = wire_messages((ModelMessage(reply=Reply(text="", calls=(made,))),))

    json.dumps(wire, ensure_ascii=False).encode()
    assert "not_an_object" in json.dumps(wire)


@pytest.mark.parametrize(
    ("description", "parameters"),
    [(SURROGATE, {}), ("d", {"title": SURROGATE}), ("d", {"properties": {SURROGATE: {}}})],
)
def test_half_of_a_pair_in_a_tool_is_refused(description: str, parameters: dict[str, object]) -> None:
    with pytest.raises(RefusedRequestError, match="half of a UTF-16 pair"):
        schema.function_tool("read", description, parameters)


@pytest.mark.parametrize("call_id", ["", "a\0b", "a b", "x" * 129, SURROGATE, 3, None])
def test_a_calls_id_is_a_plain_word(call_id: object) -> None:
    message = {"role": "tool", "tool_call_id": call_id, "content": "R"}
    output = {"type": "function_call_output", "call_id": call_id, "output": "R"}

    for api, body in (
        (ChatApi(), {"model": "main", "messages": [message]}),
        (ResponsesApi(), {"model": "main", "input": [output]}),
    ):
        with pytest.raises(RefusedRequestError, match="a call's id is not"):
            api.read(body)
    with pytest.raises(RefusedRequestError, match="a call's id is not"):
        schema.call(call_id, "read", "{}")


@pytest.mark.parametrize("store", [True, 1, "true"])
def test_nothing_is_stored_with_the_responses_api(store: object) -> None:
    with pytest.raises(RefusedRequestError) as refused:
        ResponsesApi().read({"model": "main", "input": "x", "store": store})

    assert refused.value.code == "capability"


def test_each_api_tells_a_request_that_is_too_large_in_its_own_word() -> None:
    """Anthropic's list of errors: 413 is `request_too_large`."""
    told: Any = MessagesApi().error(too_large("why"))
    chat: Any = ChatApi().error(too_large("why"))

    assert told["error"] == {"type": "request_too_large", "message": "why"}
    assert chat["error"]["code"] == "request_too_large"
