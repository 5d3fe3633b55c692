"""A model's server on loopback that says what a test has it say, in the dialect of either API."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

Dialect = Literal["chat", "messages"]
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """Return the body."""
        value: dict[str, Any] = json.loads(self.body)
        return value


@dataclass
class Line:
    """The connection of one request."""

    writer: asyncio.StreamWriter
    closed: asyncio.Event

    async def send(self, data: bytes | str) -> None:
        """Send bytes."""
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of an answer that ends with its connection."""
        lines = [f"HTTP/1.1 {status} X", "connection: close", *(f"{k}: {v}" for k, v in headers.items())]
        await self.send("\r\n".join(lines) + "\r\n\r\n")


Play = "Callable[[Line, Asked], Awaitable[None]]"


@dataclass
class ModelServer:
    """Answer each request with the next play; the last one is repeated."""

    plays: list[Callable[[Line, Asked], Awaitable[None]]]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    closed: list[asyncio.Event] = field(default_factory=list)
    """For each request, set when its client has gone."""

    @property
    def origin(self) -> str:
        """Return the origin."""
        return f"http://127.0.0.1:{self.port}"

    def base_url(self, dialect: Dialect) -> str:
        """Return what an operator would configure."""
        return f"{self.origin}/v1" if dialect == "chat" else self.origin

    async def gone(self, number: int = -1) -> None:
        """Wait until a request's client has closed its connection."""
        await asyncio.wait_for(self.closed[number].wait(), WAIT_SECONDS)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        closed = asyncio.Event()
        watch: asyncio.Task[None] | None = None
        try:
            asked = await _read(reader)
            play = self.plays[min(len(self.asked), len(self.plays) - 1)]
            self.asked.append(asked)
            self.closed.append(closed)
            watch = asyncio.create_task(_watch(reader, closed))
            await play(Line(writer, closed), asked)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if watch is not None:
                watch.cancel()
            closed.set()
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


async def _watch(reader: asyncio.StreamReader, closed: asyncio.Event) -> None:
    try:
        await reader.read()
    except ConnectionError:
        pass
    finally:
        closed.set()


@asynccontextmanager
async def serving(*plays: Callable[[Line, Asked], Awaitable[None]]) -> AsyncIterator[ModelServer]:
    """Run a server."""
    model_server = ModelServer(list(plays))
    listener = await asyncio.start_server(model_server.handle, "127.0.0.1", 0, limit=2**26)
    model_server.port = listener.sockets[0].getsockname()[1]
    try:
        yield model_server
    finally:
        listener.close()


def answer(
    status: int, body: object, headers: Mapping[str, str] | None = None
) -> Callable[[Line, Asked], Awaitable[None]]:
    """Return a play that answers once and whole; text is sent as it is, all else as JSON."""

    async def play(line: Line, _asked: Asked) -> None:
        is_text = isinstance(body, str | bytes)
        raw = body if is_text else json.dumps(body)
        kind = "text/plain" if is_text else "application/json"
        await line.head(status, {"content-type": kind, **(headers or {})})
        await line.send(raw)  # type: ignore[arg-type]  # text or bytes, as was just seen

    return play


def stream(*pieces: str | bytes) -> Callable[[Line, Asked], Awaitable[None]]:
    """Return a play that sends these pieces of an event stream, each by itself."""

    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        for piece in pieces:
            await line.send(piece)
            await asyncio.sleep(0)

    return play


def data(value: object) -> str:
    """Return one event of chat completions."""
    return f"data: {json.dumps(value)}\n\n"


def event(value: Mapping[str, object]) -> str:
    """Return one event of messages."""
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n"


@dataclass(frozen=True)
class Saying:
    """What a model says, in no dialect."""

    text: str = ""
    calls: Sequence[tuple[str, str, str]] = ()
    """Id, name and arguments of each call."""
    sent: int = 100
    cached: int = 40
    said: int = 7

    def pieces(self, dialect: Dialect) -> list[str]:
        """Return it as an event stream, arguments in two pieces each."""
        return self._chat() if dialect == "chat" else self._messages()

    def play(self, dialect: Dialect) -> Callable[[Line, Asked], Awaitable[None]]:
        """Return it as a play."""
        return stream(*self.pieces(dialect))

    def whole(self, dialect: Dialect) -> dict[str, object]:
        """Return it as one object."""
        if dialect == "chat":
            calls = [
                {"id": i, "type": "function", "function": {"name": n, "arguments": a}}
                for i, n, a in self.calls
            ]
            message = {"role": "assistant", "content": self.text, "tool_calls": calls or None}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
            return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": self._chat_usage()}
        blocks: list[object] = [{"type": "text", "text": self.text}] if self.text else []
        blocks += [{"type": "tool_use", "id": i, "name": n, "input": json.loads(a)} for i, n, a in self.calls]
        usage = {**self._messages_usage(), "output_tokens": self.said}
        return {
            "type": "message",
            "role": "assistant",
            "id": "x",
            "content": blocks,
            "stop_reason": "end_turn",
            "usage": usage,
        }

    def _chat_usage(self) -> dict[str, object]:
        return {
            "prompt_tokens": self.sent,
            "completion_tokens": self.said,
            "total_tokens": self.sent + self.said,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    def _messages_usage(self) -> dict[str, object]:
        return {"input_tokens": self.sent - self.cached, "cache_read_input_tokens": self.cached}

    def _chat(self) -> list[str]:
        deltas: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in self.text.split(" ")] if self.text else []
        deltas = [
            {"content": f" {d['content']}"} if place > 1 and d.get("content") else d
            for place, d in enumerate(deltas)
        ]
        for index, (call_id, name, arguments) in enumerate(self.calls):
            half = len(arguments) // 2
            function = {"name": name, "arguments": arguments[:half]}
            deltas.append(
                {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
            )
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]})
        chunks: list[object] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
        ]
        finish = "tool_calls" if self.calls else "stop"
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        chunks.append({"choices": [], "usage": self._chat_usage()})
        return [*map(data, chunks), "data: [DONE]\n\n"]

    def _messages(self) -> list[str]:
        start = {"type": "message", "role": "assistant", "content": [], "usage": self._messages_usage()}
        events: list[dict[str, object]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
        index = 0
        if self.text:
            block: dict[str, object] = {"type": "text", "text": ""}
            events.append({"type": "content_block_start", "index": 0, "content_block": block})
            delta: dict[str, object] = {"type": "text_delta", "text": self.text}
            events.append({"type": "content_block_delta", "index": 0, "delta": delta})
            events.append({"type": "content_block_stop", "index": 0})
            index = 1
        for call_id, name, arguments in self.calls:
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            half = len(arguments) // 2
            for piece in (arguments[:half], arguments[half:]):
                delta = {"type": "input_json_delta", "partial_json": piece}
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
            events.append({"type": "content_block_stop", "index": index})
            index += 1
        stop = {"stop_reason": "tool_use" if self.calls else "end_turn"}
        events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": self.said}})
        events.append({"type": "message_stop"})
        return list(map(event, events))
