"""A gateway on loopback, servers that pause in mid-reply, and each API as its SDK reads it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anthropic
import openai

from agent_runner.gateway.parsing import Parsing
from tests.contract.model_server import Saying, data, event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent_runner.backends.backend import Backend
    from tests.agent_runner.gateway.test_book import Ledger
    from tests.contract.model_server import Asked, Dialect, Line

WAIT_SECONDS: Final = 60.0
TALK: Final[Any] = [{"role": "user", "content": "How is the weather?"}]
CALL: Final = ("call_1", "weather", '{"city": "Basel"}')
SAYING: Final = Saying("It is sunny today.", calls=[CALL])


class Paused:
    """Send a stream up to a piece, and the rest when it is let go; a play of `model_server`."""

    def __init__(self, *, last: str = "") -> None:
        self.go_on = asyncio.Event()
        self.last = last
        """Sent in place of the rest; empty for the rest."""

    def play(self, dialect: Dialect, *, until: str) -> Callable[[Line, Asked], Awaitable[None]]:
        """Return the play, which waits behind the piece with these words."""

        async def play(line: Line, _: Asked) -> None:
            await line.head(200, {"content-type": "text/event-stream"})
            pieces = SAYING.pieces(dialect)
            place = next(number for number, piece in enumerate(pieces, 1) if until in piece)
            await line.send("".join(pieces[:place]))
            async with asyncio.timeout(WAIT_SECONDS):
                await self.go_on.wait()
            await line.send(self.last or "".join(pieces[place:]))

        return play


@asynccontextmanager
async def gateway(backend: Backend, ledger: Ledger) -> AsyncIterator[str]:
    """Serve the real parser, in its process, on a port of the loopback; return its origin."""
    parsing = Parsing({"main": backend}, ledger.book)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def received() -> AsyncIterator[bytes]:
            while piece := await reader.read(65536):
                yield piece

        async def send(piece: bytes) -> None:
            writer.write(piece)
            await writer.drain()

        try:
            await parsing(received(), send, writer.close)
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with ledger.journal, asyncio.timeout(WAIT_SECONDS):
        try:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            await parsing.close()
            await backend.close()


def chat_client(origin: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{origin}/v1", api_key="x", max_retries=0)


def messages_client(origin: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=origin, api_key="x", max_retries=0)


TOOLS: Final[dict[str, Any]] = {
    "chat": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    "responses": [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}],
    "messages": [{"name": "weather", "input_schema": {"type": "object"}}],
}


async def chat(origin: str, **more: Any) -> AsyncIterator[tuple[str, str]]:
    async with chat_client(origin) as client:
        stream = await client.chat.completions.create(
            model="main", messages=TALK, tools=TOOLS["chat"], stream=True, **more
        )
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield "text", choice.delta.content
                for call in choice.delta.tool_calls or []:
                    assert call.function is not None
                    yield "call", call.function.arguments or ""
                if choice.finish_reason:
                    yield "end", choice.finish_reason


async def responses(origin: str) -> AsyncIterator[tuple[str, str]]:
    async with (
        chat_client(origin) as client,
        client.responses.stream(model="main", input=TALK, tools=TOOLS["responses"], store=False) as stream,
    ):
        async for happened in stream:
            if happened.type == "response.output_text.delta":
                yield "text", happened.delta
            elif happened.type == "response.function_call_arguments.delta":
                yield "call", happened.delta
            elif happened.type == "response.failed":
                assert happened.response.error is not None
                raise LookupError(happened.response.error.message)
            elif happened.type == "response.completed":
                *_, call = happened.response.output
                assert call.type == "function_call"
                yield "end", f"{happened.response.output_text} {call.arguments}"


async def messages(origin: str) -> AsyncIterator[tuple[str, str]]:
    async with (
        messages_client(origin) as client,
        client.messages.stream(model="main", max_tokens=99, messages=TALK, tools=TOOLS["messages"]) as stream,
    ):
        async for happened in stream:
            if happened.type == "text":
                yield "text", happened.text
            elif happened.type == "input_json":
                yield "call", happened.partial_json
            elif happened.type == "message_stop":
                yield "end", str(happened.message.stop_reason)


READERS: Final = {"chat": chat, "responses": responses, "messages": messages}
ENDS: Final = {
    "chat": "tool_calls",
    "responses": 'It is sunny today. {"city": "Basel"}',
    "messages": "tool_use",
}
FIRST: Final[dict[Dialect, str]] = {"chat": "It", "messages": "It is sunny today."}
"""The first text that the server of a dialect sends."""
ERRORS: Final[dict[Dialect, str]] = {
    "chat": data({"error": {"message": "the worker died", "code": 500}}),
    "messages": event({"type": "error", "error": {"type": "api_error", "message": "the worker died"}}),
}
