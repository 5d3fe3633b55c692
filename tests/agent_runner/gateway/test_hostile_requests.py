"""A compromised agent at its loopback: requests in two readings, floods, other doors, keys asked back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.aloud import TextTold
from agent_runner.backends.backend import Reply
from agent_runner.gateway import http
from agent_runner.gateway.desk import Desk
from agent_runner.gateway.http import HttpRequest, Serving
from agent_runner.gateway.relay import ModelRelay
from tests.agent_runner.gateway.test_model_relay import POST, Both, cut, relayed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent_runner.backends.aloud import Step
    from agent_runner.gateway.asked import Asked

HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"
SECOND = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
TWO_READINGS = {
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 40\r\n\r\n{}" + SECOND,
    "two lengths in one": HEAD + b"content-length: 2, 40\r\n\r\n{}" + SECOND,
    "a signed length": HEAD + b"content-length: +2\r\n\r\n{}" + SECOND,
    "a length in hexadecimal": HEAD + b"content-length: 0x2\r\n\r\n{}" + SECOND,
    "a space before the colon": HEAD + b"content-length : 2\r\n\r\n{}" + SECOND,
    "another coding": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + SECOND,
    "a coding that is none": HEAD + b"transfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + SECOND,
    "two codings": HEAD
    + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"
    + SECOND,
    "a chunk of a signed size": HEAD + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" + SECOND,
    "a chunk that is longer": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n" + SECOND,
    "no host": b"POST /v1/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}" + SECOND,
    "two hosts": HEAD + b"host: y\r\ncontent-length: 2\r\n\r\n{}" + SECOND,
    "a zero in a header": HEAD + b"x: a\0b\r\ncontent-length: 2\r\n\r\n{}" + SECOND,
    "a head that does not end": HEAD + b"x: " + b"y" * 200_000,
    "very many headers": HEAD + b"x: y\r\n" * 20_000 + b"\r\n" + SECOND,
}


@pytest.mark.parametrize("size", [1000, 7])
@pytest.mark.parametrize("name", TWO_READINGS)
async def test_what_two_readers_could_take_in_two_ways_is_no_request(name: str, size: int) -> None:
    """Nobody is asked, and nothing behind it on the connection is read."""
    both = await relayed(TWO_READINGS[name], size)

    assert both.asked == []
    assert both.sent.startswith(b"HTTP/1.1 4")
    assert both.went_out == b""


async def test_the_same_request_in_one_reading_is_one() -> None:
    """The positive twin: a length, and chunks."""
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    both = await relayed(HEAD + b"content-length: 2\r\n\r\n{}" + chunked + SECOND, 7)

    assert [(method, body) for method, _, body in both.asked] == [
        ("POST", b"{}"),
        ("POST", b"{}"),
        ("GET", b""),
    ]


@pytest.mark.parametrize(
    "then",
    [
        b"GET http://evil.example/ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT evil:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_behind_a_request_for_a_model_no_other_goes_to_the_gate(then: bytes) -> None:
    """Whose a connection is, is said once: the gate would not see where the second begins."""
    both = await relayed(POST + then + b" HTTP/1.1\r\nhost: x\r\n\r\n", 1000)

    assert both.went_out == b""


async def test_a_gigabyte_that_comes_in_chunks_is_refused_when_it_is_too_large() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield HEAD + b"transfer-encoding: chunked\r\n\r\n"
        for _ in range(16_384):
            taken += 65536
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    both = Both()
    await ModelRelay(Serving(both), None)(endless(), both.send, lambda: None)

    assert both.sent.startswith(b"HTTP/1.1 413 ")
    assert taken < http.MOST_BODY_BYTES + 1024 * 1024
    assert both.asked == []


@pytest.mark.parametrize(
    ("length", "answer"),
    [(http.MOST_BODY_BYTES, b"HTTP/1.1 100 "), (http.MOST_BODY_BYTES + 1, b"HTTP/1.1 413 ")],
)
async def test_a_body_that_says_it_will_be_too_large_is_not_asked_for(length: int, answer: bytes) -> None:
    """A client that waits for `100 Continue` is spared sending 8 MiB that nobody takes."""
    both = await relayed(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % length, 1000)

    assert both.sent.startswith(answer)


async def test_a_client_that_does_not_wait_is_read_to_the_bound_before_it_is_refused() -> None:
    """One that is cut off while it sends is reset, and never reads the answer that says why."""
    both, taken, answered_at = Both(), 0, []

    async def sending() -> AsyncIterator[bytes]:
        nonlocal taken
        yield HEAD + b"content-length: %d\r\n\r\n" % (http.MOST_BODY_BYTES + 1)
        for _ in range(http.MOST_BODY_BYTES // 65536):
            taken += 65536
            yield b"x" * 65536
        yield b"x"

    async def send(data: bytes) -> None:
        answered_at.append(taken)
        await both.send(data)

    await ModelRelay(Serving(both), None)(sending(), send, lambda: None)

    assert both.sent.startswith(b"HTTP/1.1 413 ")
    assert answered_at[0] == http.MOST_BODY_BYTES
    assert both.asked == []


async def test_thousands_of_connections_wait_for_their_turn_and_are_all_answered() -> None:
    both = Both()
    relay = ModelRelay(Serving(both), None)

    await asyncio.gather(*(relay(cut(POST, 1000), both.send, lambda: None) for _ in range(3000)))

    assert len(both.asked) == 3000
    assert both.sent.count(b"HTTP/1.1 200 ") == 3000


class Endless:
    """Begin a reply, and never end it; `desk.Asker`."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def ask(self, _: Asked, hear: Callable[[Step], None]) -> Reply:
        """Say a word."""
        hear(TextTold(text="It"))
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError


STREAMED = b'{"model": "main", "messages": [], "stream": true}'
STREAM = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(STREAMED)


@pytest.mark.parametrize("sent", [0, 1, 2])
async def test_a_question_ends_with_its_stream_however_little_of_that_could_be_sent(sent: int) -> None:
    """Before its first piece a stream has no end of its own: the model would speak on to nobody, unpaid."""
    endless, left = Endless(), sent

    async def received() -> AsyncIterator[bytes]:
        yield STREAM + STREAMED
        await asyncio.Event().wait()

    async def send(_: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Serving(Desk(("main",), endless))(received(), send, lambda: None)

    assert endless.ended.is_set()


@pytest.mark.parametrize("steps", range(12))
async def test_a_question_ends_at_whatever_moment_its_client_goes_away(steps: int) -> None:
    endless = Endless()

    async def received() -> AsyncIterator[bytes]:
        yield STREAM + STREAMED
        await endless.begun.wait()
        for _ in range(steps):
            await asyncio.sleep(0)

    async def send(_: bytes) -> None:
        await asyncio.sleep(0)

    await Serving(Desk(("main",), endless))(received(), send, lambda: None)

    assert endless.ended.is_set()


@pytest.mark.parametrize("steps", range(12))
async def test_a_question_ends_at_whatever_moment_its_session_does(steps: int) -> None:
    endless = Endless()

    async def received() -> AsyncIterator[bytes]:
        yield STREAM + STREAMED
        await asyncio.Event().wait()

    async def send(_: bytes) -> None:
        await asyncio.sleep(0)

    serving = asyncio.ensure_future(Serving(Desk(("main",), endless))(received(), send, lambda: None))
    await endless.begun.wait()
    for _ in range(steps):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)

    assert endless.ended.is_set()


class Never:
    """Nobody to ask; `desk.Asker`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def ask(self, asked: Asked, _: object) -> Reply:
        """Answer."""
        self.asked.append(asked)
        return Reply(text="hi")


async def told(path: str, body: Any, method: str = "POST", **headers: str) -> tuple[int, str, Never]:
    """Return what a desk answers."""
    never = Never()
    request = HttpRequest(method=method, target=path, headers=headers, body=json.dumps(body).encode())
    answer = await Desk(("main", "small"), never).answer(request)
    assert isinstance(answer.body, bytes)
    return answer.status, answer.body.decode(), never


QUESTION: dict[str, Any] = {"model": "main", "messages": [{"role": "user", "content": "x"}]}
DOORS = [
    *("/v1/files", "/v1/responses/resp_1", "/v1/batches", "/v1/conversations", "/v1/vector_stores"),
    *("/v1/messages/batches", "/v1/fine_tuning/jobs", "/v1/images/generations", "/v1/audio/speech"),
    *("/v1/assistants", "/v1/threads", "/v1/containers", "/v1/skills", "/v1/organization/api_keys"),
    *("/v1/chat/completions/", "/v1//messages", "/v1/messages%2fcount_tokens", "/V1/messages", "/"),
    *("/metrics", "/health", "/v1/models/../files", "http://127.0.0.1:3128/v1/messages"),
]


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_no_other_door_of_a_provider_is_there(path: str, method: str) -> None:
    status, _, never = await told(path, QUESTION, method)

    assert status == 404
    assert never.asked == []


MODELS = ["gpt-9", "Main", "main ", "main\0", "small/../main", "../main", "MAIN", "openai/main", ""]


@pytest.mark.parametrize("name", MODELS)
async def test_no_name_but_those_of_the_session_is_a_model(name: str) -> None:
    status, body, never = await told("/v1/chat/completions", {**QUESTION, "model": name})

    assert (status, never.asked) == (404, [])
    assert json.loads(body)["error"]["code"] == "model_not_found"


async def test_keys_and_headers_that_an_agent_sends_go_nowhere_and_do_not_come_back() -> None:
    """There is no key to be asked back: the process that answers has none."""
    secret = "sk-agents-own-0123456789"  # noqa: S105 - a made-up key
    headers = {"authorization": f"Bearer {secret}", "x-api-key": secret, "openai-organization": secret}

    status, body, never = await told("/v1/chat/completions", QUESTION, **headers)

    assert status == 200
    assert secret not in body
    assert secret not in repr(never.asked)


@pytest.mark.parametrize("header", ["anthropic-beta", "openai-beta"])
async def test_a_beta_is_refused_and_not_silently_left_out(header: str) -> None:
    """A client that asks for a server's tool would otherwise wait for what never comes."""
    status, body, never = await told(
        "/v1/messages", {**QUESTION, "max_tokens": 9}, **{header: "web-fetch-2025-09-10"}
    )

    assert (status, never.asked) == (400, [])
    assert (
        json.loads(body)["error"]["message"]
        == f"capability: a request to a model may not hold the header `{header}`"
    )


@pytest.mark.parametrize("betas", [("web-fetch-2025-09-10", ""), ("", "web-fetch-2025-09-10")])
async def test_a_beta_beside_an_empty_one_is_refused(betas: tuple[str, str]) -> None:
    """Of two headers of one name the last was read, and the other was as good as left out."""
    never, sent = Never(), bytearray()
    named = "".join(f"anthropic-beta: {beta}\r\n" for beta in betas).encode()
    body = json.dumps({**QUESTION, "max_tokens": 9}).encode()
    asked = HEAD + named + b"content-length: %d\r\n\r\n" % len(body) + body

    async def send(data: bytes) -> None:
        sent.extend(data)

    await Serving(Desk(("main",), never))(cut(asked, 1000), send, lambda: None)

    assert never.asked == []
    assert sent.startswith(b"HTTP/1.1 400 ")
    assert b"the header `anthropic-beta`" in sent
