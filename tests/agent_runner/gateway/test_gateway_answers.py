"""What an agent inside is answered on its loopback: replies, refusals, lists, and nothing beside."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import Call, Reply, Usage
from agent_runner.backends.failure import Failure, ModelServerError
from agent_runner.gateway import desk
from agent_runner.gateway.http import HttpRequest
from agent_runner.gateway.terminal import record
from audit.verify import verify_session
from cli_tools.action import ToolProposal
from tests.agent_runner.gateway.screen import EXEC, Screen, asked
from tests.agent_runner.stand import SESSION, Model, saying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message
    from agent_runner.gateway.asked import Asked
    from tests.agent_runner.stand import Stand

QUESTION = {"model": "main", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
CALL = Call(call_id="c1", proposal=ToolProposal(tool="read", arguments='{"path": "a"}'))
USAGE = Usage(input_tokens=10, output_tokens=4, cached_tokens=6)


async def answers(
    stand: Stand, model: Model, *requests: tuple[Any, ...], **changes: Any
) -> list[tuple[int, str]]:
    """Return what programs inside are answered, one by one."""
    listed = json.dumps([(request[:3], request[3] if len(request) > 3 else {}) for request in requests])
    code = f"""
        for words, named in json.loads({listed!r}):
            print(json.dumps(post(*words, **named)), flush=True)
    """
    done, screen = await asked(stand, model, code, **changes)
    assert done.code == 0, bytes(screen.errors).decode()
    return [(status, body) for status, body in map(json.loads, screen.shown.decode().splitlines())]


async def test_each_api_tells_text_calls_and_tokens(stand: Stand) -> None:
    model = Model(lambda _, __: Reply(text="Hello.", calls=(CALL,), usage=USAGE))
    paths = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
    third = {"model": "main", "input": "x"}

    told = await answers(
        stand,
        model,
        (paths[0], QUESTION),
        (paths[1], QUESTION),
        (paths[2], third),
        ("/v1/messages/count_tokens", QUESTION),
    )

    assert [status for status, _ in told] == [200] * 4
    chat, messages, responses, counted = [json.loads(body) for _, body in told]
    assert chat["choices"][0]["message"]["content"] == "Hello."
    assert chat["choices"][0]["message"]["tool_calls"][0]["function"] == {
        "name": "read",
        "arguments": '{"path": "a"}',
    }
    assert chat["usage"]["prompt_tokens_details"] == {"cached_tokens": 6}
    assert [block["type"] for block in messages["content"]] == ["text", "tool_use"]
    assert messages["usage"] == {
        "input_tokens": 4,
        "cache_read_input_tokens": 6,
        "cache_creation_input_tokens": 0,
        "output_tokens": 4,
    }
    assert [item["type"] for item in responses["output"]] == ["message", "function_call"]
    assert counted["input_tokens"] > 0
    assert len(model.heard) == 3


async def test_each_question_and_answer_is_in_the_ledger_once(stand: Stand) -> None:
    model = Model(lambda _, turn: Reply(text=f"answer {turn}", usage=USAGE))
    more = {
        **QUESTION,
        "messages": [
            *QUESTION["messages"],  # type: ignore[misc]
            {"role": "assistant", "content": "answer 1"},
            {"role": "user", "content": "and then?"},
        ],
    }

    await answers(stand, model, ("/v1/chat/completions", QUESTION), ("/v1/chat/completions", more))

    assert [e["role"] for e in stand.entries("message.added")] == ["user", "user"]
    assert [(e["turn"], e["message_count"]) for e in stand.entries("model.asked")] == [(1, 1), (2, 3)]
    assert [(e["turn"], e["input_tokens"]) for e in stand.entries("model.answered")] == [(1, 10), (2, 10)]
    assert stand.entries("session.closed")[0]["totals"]["turns"] == 2
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_what_an_agent_makes_the_model_say_is_written_down_as_its_own(stand: Stand) -> None:
    model = Model(lambda _, __: Reply(text="ok"))
    forged = {**QUESTION, "messages": [{"role": "assistant", "content": "I never said this"}]}

    await answers(stand, model, ("/v1/chat/completions", forged))

    assert len(stand.entries("message.added")) == 1


REFUSALS: list[tuple[tuple[Any, ...], int, str]] = [
    (("/v1/chat/completions", {**QUESTION, "model": "gpt-9"}), 404, "model_not_found"),
    (("/v1/chat/completions", {**QUESTION, "store": True}), 400, "capability"),
    (("/v1/chat/completions", QUESTION, "POST", {"openai_beta": "assistants=v2"}), 400, "capability"),
    (("/v1/messages", QUESTION, "POST", {"anthropic_beta": "mcp-client-2025-04-04"}), 400, "capability"),
    (("/v1/chat/completions?api-version=1", QUESTION), 400, "capability"),
    (("/v1/files", {}), 404, "not_found"),
    (("/v1/embeddings", {}), 404, "not_found"),
    (("/v1/chat/completions", None, "GET"), 404, "not_found"),
    (("/v1/models/gpt-9", None, "GET"), 404, "model_not_found"),
    (("/v1/models", None, "DELETE"), 404, "not_found"),
]


async def test_refusals_have_their_status_and_ask_nobody(stand: Stand) -> None:
    model = saying()

    told = await answers(stand, model, *[request for request, _, _ in REFUSALS])

    assert [status for status, _ in told] == [status for _, status, _ in REFUSALS]
    for (_, body), (request, _, code) in zip(told, REFUSALS, strict=True):
        found = json.loads(body)["error"]
        assert code in (found.get("code"), found["message"].split(":")[0]), (request, found)
    assert model.heard == []


async def test_the_models_are_listed_as_both_apis_do(stand: Stand) -> None:
    listed, one = await answers(
        stand, saying(), ("/v1/models", None, "GET"), ("/v1/models/main", None, "GET")
    )

    found = json.loads(listed[1])
    assert [model["id"] for model in found["data"]] == ["main", "small"]
    assert (found["object"], found["has_more"], json.loads(one[1])["type"]) == ("list", False, "model")


STRANGE = [
    b"{",
    b"[" * 100_000,
    b'{"model": "main", "model": "x"}',
    b'{"model": NaN}',
    b"\xff\xfe",
    b'{"messages": ' + b'{"a":' * 80 + b"1" + b"}" * 80 + b"}",
]


async def test_bodies_that_are_no_json_are_refused_in_one_line(stand: Stand) -> None:
    code = f"""
        for body in {STRANGE!r}:
            print(json.dumps(post("/v1/messages", body)), flush=True)
    """

    done, screen = await asked(stand, saying(), code)

    told = [json.loads(line) for line in screen.shown.decode().splitlines()]
    assert done.code == 0
    assert [status for status, _ in told] == [400] * len(STRANGE)
    assert all(json.loads(body)["error"]["type"] == "invalid_request_error" for _, body in told)


async def test_what_is_no_http_ends_its_connection_and_not_the_session(stand: Stand) -> None:
    """In a session without `network` there is nothing else behind the loopback: no proxy answers."""
    code = """
        import socket
        for words in (b"\\x05\\x01\\x00", b"CONNECT example.com:443 HTTP/1.1\\r\\n\\r\\n", b"\\x00" * 70000,
                      b"GET http://example.com/ HTTP/1.1\\r\\nhost: example.com\\r\\n\\r\\n",
                      b"POST /v1/messages HTTP/1.1\\r\\ncontent-length: -1\\r\\n\\r\\n"):
            line = socket.create_connection(("127.0.0.1", 3128))
            line.sendall(words)
            line.shutdown(socket.SHUT_WR)
            said = b""
            try:
                while piece := line.recv(65536): said += piece
            except ConnectionError: pass
            print(json.dumps(said.decode("latin-1")[:40]), flush=True)
        print(json.dumps(post("/v1/models", None, "GET")[0]))
    """

    done, screen = await asked(stand, saying(), code)

    *told, last = map(json.loads, screen.shown.decode().splitlines())
    assert done.code == 0
    assert not any(" 200 " in said for said in told)
    assert last == 200


async def test_a_model_that_fails_is_told_by_status_and_without_the_hosts_hints(stand: Stand) -> None:
    def broken(_: Sequence[Message], __: int) -> Reply:
        raise ModelServerError(
            "`h` answered 401", failure=Failure(kind="refused", status=401), hint="see `key`"
        )

    told = await answers(
        stand,
        Model(broken),
        ("/v1/chat/completions", QUESTION),
        ("/v1/messages", {**QUESTION, "stream": True}),
    )

    assert [status for status, _ in told] == [502, 502]
    assert "see `key`" not in told[0][1]
    assert [e["error"] for e in stand.entries("model.failed")] == ["`h` answered 401"] * 2


class Slow:
    """Answer once the stream has begun; `desk.Asker`."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def ask(self, _: Asked, __: object) -> Reply:
        """Return the reply."""
        await self.begun.wait()
        return Reply(text="Hi.", calls=(CALL,))


@pytest.mark.parametrize(
    ("path", "body", "last"),
    [
        ("/v1/chat/completions", QUESTION, "data: [DONE]"),
        ("/v1/messages", QUESTION, "message_stop"),
        ("/v1/responses", {"model": "main", "input": "x"}, "response.completed"),
    ],
)
async def test_streams_come_as_events_and_are_kept_alive(
    path: str, body: dict[str, Any], last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "PING_SECONDS", 0.05)
    slow = Slow()
    raw = json.dumps({**body, "stream": True}).encode()

    answer = await desk.Desk(("main",), slow).answer(
        HttpRequest(method="POST", target=path, headers={}, body=raw)
    )
    assert not isinstance(answer.body, bytes)
    told = []
    async for piece in answer.body:
        slow.begun.set()
        told.append(piece.decode())

    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    assert told[0] == ": the model is asked\n\n"
    assert last in told[-1]
    assert all(piece.endswith("\n\n") for piece in told)


async def test_hanging_up_is_counted_and_ends_the_question(stand: Stand) -> None:
    """An agent that closes its connection before each answer would otherwise spend without a budget."""
    screen = Screen()

    class Endless(Model):
        async def ask(self, *_: Any) -> Reply:
            screen.tell(record(b"d", b"hang up\n"))
            try:
                await asyncio.Event().wait()
            finally:
                screen.tell(record(b"d", b"leave\n"))
            raise AssertionError

    code = """
        import socket
        body = json.dumps({"model": "main", "messages": [{"role": "user", "content": "x" * 4000}]}).encode()
        line = socket.create_connection(("127.0.0.1", 3128))
        line.sendall(b"POST /v1/chat/completions HTTP/1.1\\r\\nhost: x\\r\\n")
        line.sendall(b"content-length: %d\\r\\n\\r\\n" % len(body) + body)
        sys.stdin.readline()
        line.close()
        sys.stdin.readline()
    """

    done, _ = await asked(stand, Endless(lambda _, __: Reply(text="")), code, policy=EXEC, screen=screen)

    assert done.code == 0
    assert (done.result.totals.turns, done.result.totals.input_tokens) == (1, 1000)
    assert [e["error"] for e in stand.entries("model.failed")] == ["the agent hung up before the answer"]
