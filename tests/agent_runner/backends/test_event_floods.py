"""A model's server may say what costs its reader much more than itself: an event of lines without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from agent_runner.backends import events
from agent_runner.backends.events import MOST_LINES, EventsWithData
from agent_runner.backends.failure import ModelServerError
from tests.contract.asking import asked, backend_for, refused
from tests.contract.model_server import Saying, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contract.model_server import Asked, Dialect, Line

EACH_DIALECT = pytest.mark.parametrize("dialect", ["chat", "messages"])
FLOOD = b"data: x\n" + b"a\n" * 2**19


class Pieces(httpx2.AsyncByteStream):
    """Bytes that come in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def given(*pieces: bytes) -> list[bytes]:
    return [event async for event in EventsWithData(Pieces(*pieces))]


@EACH_DIALECT
@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream", "text/plain", ""])
async def test_an_event_of_lines_without_end_is_no_reply(dialect: Dialect, kind: str) -> None:
    """An SDK copies an event for each of its lines: 1 MiB of them would hold the runner for many seconds."""

    async def play(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": kind} if kind else {})
        await line.send(FLOOD)
        await line.closed.wait()

    async with serving(play) as server:
        error = await refused(backend_for(server, dialect))
        await server.gone()

    assert error.failure.kind == "broken"
    assert f"an event of {MOST_LINES + 1} lines" in error.message


@EACH_DIALECT
@pytest.mark.parametrize("kind", ["Text/Event-Stream", "text/plain", "APPLICATION/JSON"])
async def test_a_reply_is_read_whatever_case_or_kind_its_server_writes(dialect: Dialect, kind: str) -> None:
    saying = Saying(text="hello")

    async def play(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": kind})
        if "JSON" in kind:
            await line.send(httpx2.Response(200, json=saying.whole(dialect)).content)
        else:
            await line.send("".join(saying.pieces(dialect)))

    async with serving(play) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text == "hello"


async def test_as_many_lines_as_an_event_may_have_are_given() -> None:
    lines = b"data: x\n" * (MOST_LINES - 1)

    assert await given(lines, b"\n") == [lines + b"\n"]
    with pytest.raises(ModelServerError):
        await given(lines, b"data: x\n", b"\n")


async def test_few_lines_behind_a_long_one_cost_no_copies_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MOST_COPIED_BYTES", 4_000)
    long = b"data: " + b"x" * 990 + b"\n"

    assert await given(long, b"id: 7\n\n") == [long + b"id: 7\n\n"]
    with pytest.raises(ModelServerError, match="an event of 4 lines"):
        await given(long, b"a\n" * 3, b"\n")


@pytest.mark.parametrize("blank", [b"\n\r\n", b"\r\n\n", b"\r\n\r", b"\n\r", b"\r\r\n"])
async def test_a_blank_line_of_mixed_ends_parts_two_events_for_the_sdks_too(blank: bytes) -> None:
    """They know three spellings, and would gather all events of another into one."""
    told = await given(b"data: x" + blank + b"data: y" + blank + b"data: z\n\n")

    assert told == [b"data: x\n\n", b"data: y\n\n", b"data: z\n\n"]
