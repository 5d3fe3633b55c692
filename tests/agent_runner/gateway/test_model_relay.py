"""One port for the model and for the way out: told apart by what a client says first, however it is cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent_runner.gateway import http
from agent_runner.gateway.http import HttpAnswer, HttpRequest, Serving
from agent_runner.gateway.relay import ModelRelay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Both:
    """Serve as the model and as the way out, and keep what came to each."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.went_out = b""
        self.sent = b""

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer as the model."""
        self.asked.append((request.method, request.target, request.body))
        return HttpAnswer(status=200, content_type="text/plain", body=b"model")

    async def way_out(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],  # noqa: ARG002 - the protocol's parameter
        end: Callable[[], None],  # noqa: ARG002 - the protocol's parameter
    ) -> None:
        """Take everything, as the egress gate would."""
        async for piece in received:
            self.went_out += piece

    async def send(self, data: bytes) -> None:
        """Keep what was answered."""
        self.sent += data


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield bytes in pieces."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def relayed(data: bytes, size: int, *, has_way_out: bool = True) -> Both:
    """Serve one connection."""
    both = Both()
    relay = ModelRelay(Serving(both), both.way_out if has_way_out else None)
    await relay(cut(data, size), both.send, lambda: None)
    return both


POST = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
FOR_THE_GATE = [
    b"CONNECT example.com:443 HTTP/1.1\r\n\r\n\x16\x03\x01",
    b"GET http://example.com/ HTTP/1.1\r\nhost: example.com\r\n\r\n",
    b"GET http://127.0.0.1:3128/v1/models HTTP/1.1\r\n\r\n",
    b"\x05\x01\x00",
    b"\x04\x01\x00\x50\x01\x02\x03\x04\x00",
    b" /x",
    b"",
    b"get /v1/models HTTP/1.1\r\n\r\n",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ /v1/models HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
async def test_a_request_that_names_a_path_is_the_models(size: int) -> None:
    both = await relayed(POST + POST, size)

    assert both.asked == [("POST", "/v1/messages", b"{}")] * 2
    assert both.went_out == b""
    assert both.sent.count(b"model") == 2


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("data", FOR_THE_GATE, ids=range(len(FOR_THE_GATE)))
async def test_everything_else_goes_to_the_gate_whole_and_to_it_alone(data: bytes, size: int) -> None:
    both = await relayed(data, size)

    assert both.went_out == data
    assert (both.asked, both.sent) == ([], b"")


@pytest.mark.parametrize("data", FOR_THE_GATE, ids=range(len(FOR_THE_GATE)))
async def test_without_network_nothing_goes_anywhere(data: bytes) -> None:
    """A URL of another host, asked of the model's API, is one more path that is not there."""
    both = await relayed(data, 1000, has_way_out=False)

    assert both.went_out == b""
    assert [target for _, target, _ in both.asked if target.startswith("/v1/chat")] == []


async def test_a_body_that_is_too_large_is_refused_before_it_is_kept() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n"
        for _ in range(400):
            yield b"x" * 65536

    both = Both()

    await ModelRelay(Serving(both), None)(endless(), both.send, lambda: None)

    assert both.sent.startswith(b"HTTP/1.1 413 ")
    assert both.asked == []


async def test_bodies_of_many_connections_are_not_all_kept_at_once() -> None:
    """200 connections of 8 MiB would be more than the runner has: the fifth waits, its bytes unread."""
    both = Both()
    serving = Serving(both)
    relay = ModelRelay(serving, None)
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n"
        for _ in range(3):
            yield b"12"
            await go_on.wait()

    tasks = [asyncio.create_task(relay(slow(), both.send, lambda: None)) for _ in range(20)]
    for _ in range(200):
        await asyncio.sleep(0)
    free = serving._room._value

    go_on.set()
    await asyncio.gather(*tasks)

    assert free == 0
    assert (free, serving._room._value) == (0, http.AT_ONCE)
    assert len(both.asked) == 20


async def test_half_a_head_does_not_hold_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
    both = Both()

    async def stalls() -> AsyncIterator[bytes]:
        yield POST[:20]
        await asyncio.Event().wait()

    await asyncio.wait_for(ModelRelay(Serving(both), None)(stalls(), both.send, lambda: None), 60)

    assert both.sent.startswith(b"HTTP/1.1 400 ")
    assert b"the request did not arrive in time" in both.sent
    assert both.asked == []


async def test_a_connection_that_has_not_begun_a_request_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive twin: clients keep connections open between their questions."""
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
    both = Both()

    async def rests() -> AsyncIterator[bytes]:
        for _ in range(2):
            await asyncio.sleep(0.2)
            yield POST

    await asyncio.wait_for(ModelRelay(Serving(both), None)(rests(), both.send, lambda: None), 60)

    assert len(both.asked) == 2


async def test_a_head_is_answered_without_a_body_and_the_connection_goes_on() -> None:
    """Claude Code asks so before its first request; a connection that just ends is taken for a failure."""
    both = await relayed(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n" + POST, 1000)

    assert [(method, target) for method, target, _ in both.asked] == [("HEAD", "/"), ("POST", "/v1/messages")]
    first, second = both.sent.split(b"HTTP/1.1 200 ")[1:]
    assert b"content-length: 5" in first
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b"\r\n\r\nmodel")
