"""Replies without end: cut, told, and their servers stopped."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from agent_runner.backends import pieces as bounds
from agent_runner.backends import wire
from tests.contract.asking import TALK, TOOL, asked, backend_for, refused
from tests.contract.model_server import (
    Asked,
    Dialect,
    Line,
    Saying,
    answer,
    serving,
)


async def test_cancelling_closes_the_connection(dialect: Dialect) -> None:
    started = asyncio.Event()

    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send("".join(Saying(text="I think").pieces(dialect)[:3]))
        started.set()
        await line.closed.wait()

    async with serving(play) as server:
        backend = backend_for(server, dialect)
        asking = asyncio.create_task(backend.ask(TALK, (TOOL,)))
        await asyncio.wait_for(started.wait(), 60)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await server.gone()  # before the backend is closed
        await backend.close()


async def test_endless_text_is_cut_told_and_its_server_stopped(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAXIMUM_TEXT", 100_000)
    head = Saying(text="x" * 50_000).pieces(dialect)
    part = next(piece for piece in head if "xxxx" in piece)

    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        for piece in head[: head.index(part)]:
            await line.send(piece)
        while not line.closed.is_set():
            await line.send(part)
            await asyncio.sleep(0)

    async with serving(play) as server:
        reply = await asked(backend_for(server, dialect))
        await server.gone()

    assert reply.text == "x" * 100_000 + "\n[the reply was cut here: more than 100000 characters]"
    assert reply.usage.output_tokens >= 25_000 or not reply.usage.estimated


async def test_calls_without_end_are_cut(dialect: Dialect) -> None:
    calls = [(f"c{number}", "files_list", "{}") for number in range(bounds.MAXIMUM_CALLS + 50)]
    async with serving(Saying(calls=calls).play(dialect)) as server:
        reply = await asked(backend_for(server, dialect))

    assert len(reply.calls) == bounds.MAXIMUM_CALLS
    assert reply.text == f"[the reply was cut here: more than {bounds.MAXIMUM_CALLS} calls]"


async def test_an_answer_larger_than_any_reply_is_not_read(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAXIMUM_ANSWER_BYTES", 1_000_000)

    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        while not line.closed.is_set():
            await line.send(b"data: " + b"x" * 65536)

    async with serving(play) as server:
        error = await refused(backend_for(server, dialect, attempts=3))
        await server.gone()

    assert error.failure.kind == "too-large"
    assert len(server.asked) == 1


async def test_a_compressed_answer_is_not_unpacked(dialect: Dialect) -> None:
    """A kilobyte that becomes a gigabyte: compression was not asked for."""
    bomb = gzip.compress(b"\x00" * 10_000_000)
    async with serving(answer(200, bomb, {"content-encoding": "gzip"})) as server:
        error = await refused(backend_for(server, dialect))

    assert error.failure.kind == "broken"
    assert "came as `gzip`" in error.message
    assert server.asked[0].headers["accept-encoding"] == "identity"
