"""How replies come over the wire: every lawful way to write an event stream is read, no cut one is taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.failure import ModelServerError
from cli_tools.action import ToolProposal
from tests.contract.asking import TALK, TOOL, asked, backend_for, refused
from tests.contract.model_server import Asked, Dialect, Line, Saying, answer, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SAID = Saying(text="It is naïve, 日本 🦊.", calls=[("a1", "files_list", '{"path": "ü/src"}')])
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
EVERY = 11
"""Bytes between two places at which a connection is reset; of no common measure with an event's length."""
COMMENTS = "\n\n: keep-alive\n\n:\n\n"


def written(dialect: Dialect) -> str:
    """Return the reply as servers mostly write it."""
    return "".join(SAID.pieces(dialect))


STREAMS: dict[str, Callable[[str], bytes]] = {
    "as it mostly is": str.encode,
    "lines that end with CR LF": lambda text: text.replace("\n", "\r\n").encode(),
    "lines that end with CR": lambda text: text.replace("\n", "\r").encode(),
    "no space after the colon": lambda text: text.replace("data: ", "data:").encode(),
    "comments between the events": lambda text: (COMMENTS + text.replace("\n\n", COMMENTS)).encode(),
    "fields that nobody asked for": lambda text: text.replace("data: ", "id: 7\nretry: 9\ndata: ").encode(),
    "a mark of its byte order first": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "three blank lines between the events": lambda text: text.replace("\n\n", "\n\n\n\n").encode(),
    "nothing after the last event": lambda text: text.encode().rstrip(b"\n"),
}


def sending(*parts: bytes) -> Callable[[Line, Asked], Awaitable[None]]:
    """Return a play that sends these bytes and closes."""

    async def play(line: Line, _asked: Asked) -> None:
        for part in parts:
            await line.send(part)
            await asyncio.sleep(0)

    return play


def chunked(raw: bytes, size: int) -> bytes:
    """Return a body in chunks with extensions, and a trailer."""
    parts = [raw[start : start + size] for start in range(0, len(raw), size)]
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nx-after: 1\r\n\r\n"


@pytest.mark.parametrize("name", STREAMS)
async def test_an_event_stream_is_read_however_it_is_written(dialect: Dialect, name: str) -> None:
    raw = STREAMS[name](written(dialect))
    async with serving(sending(HEAD + b"\r\n", raw)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text == SAID.text
    assert [(call.call_id, call.proposal) for call in reply.calls] == [
        ("a1", ToolProposal(tool="files_list", arguments='{"path": "ü/src"}'))
    ]
    usage = reply.usage
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (SAID.sent, SAID.said, False)


async def test_a_stream_that_comes_byte_by_byte_is_one(dialect: Dialect) -> None:
    """Characters of several bytes and the ends of lines are cut in their middle."""
    raw = written(dialect).replace("\n", "\r\n").encode()
    pieces = [raw[place : place + 1] for place in range(len(raw))]
    async with serving(sending(HEAD + b"\r\n", *pieces)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text == SAID.text
    assert len(reply.calls) == 1


async def test_chunks_with_extensions_and_a_trailer_are_read(dialect: Dialect) -> None:
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    async with serving(sending(head, chunked(written(dialect).encode(), 7))) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text == SAID.text


async def test_http_1_0_ends_with_its_connection(dialect: Dialect) -> None:
    head = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    async with serving(sending(head, written(dialect).encode())) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text == SAID.text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the engine is gone", "code": 500}},
        {"object": "error", "message": "the engine is gone", "code": 500},
        {"type": "error", "error": {"type": "api_error", "message": "the engine is gone"}},
        {"detail": "the engine is gone"},
    ],
)
async def test_an_error_behind_a_200_is_a_failure(
    dialect: Dialect, body: dict[str, object], *, stream: bool
) -> None:
    async with serving(answer(200, body), SAID.play(dialect)) as server:
        error = await refused(backend_for(server, dialect, stream=stream))

    assert error.failure.kind == "broken"


async def test_a_connection_that_is_reset_at_any_byte_leaves_no_half_reply(dialect: Dialect) -> None:
    """Whatever was lost, there is a failure or the whole reply; never words without the call behind them."""
    raw = written(dialect).encode()
    cut = 0

    async def play(line: Line, _asked: Asked) -> None:
        await line.send(HEAD + b"\r\n" + raw[:cut])
        line.writer.transport.abort()

    whole, kinds = 0, set()
    async with serving(play) as server:
        backend = backend_for(server, dialect)
        for cut in range(0, len(raw) + 1, EVERY):
            try:
                reply = await backend.ask(TALK, (TOOL,))
            except ModelServerError as error:
                kinds.add(error.failure.kind)
            else:
                whole += 1
                assert (reply.text, len(reply.calls)) == (SAID.text, 1), cut
        await backend.close()

    assert kinds == {"broken"}
    assert whole < len(raw) / EVERY / 4
