"""The same reply is the same whichever API it comes over, and whatever else its event stream holds."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.backends.chat_wire import ChatReader
from agent_runner.backends.messages_wire import MessagesReader
from agent_runner.hearing import bounded
from tests.contract.asking import TALK, TOOL, asked, backend_for, refused
from tests.contract.model_server import Saying, data, event, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_runner.backends.backend import Reply
    from tests.contract.model_server import Asked, Dialect, Line

SAID: Final = Saying(text="It is naïve.", calls=[("a1", "files_list", '{"path": "src"}')])
MANY: Final = 2_000


def read(dialect: Dialect, saying: Saying, *, whole: bool) -> Reply:
    """Return what a reader makes of a reply, without a server."""
    reader = ChatReader() if dialect == "chat" else MessagesReader()
    for chunk in [saying.whole(dialect)] if whole else map(_object, saying.pieces(dialect)):
        if chunk is not None:
            reader.take(chunk)
    return reader.pieces.reply(set(), sent_tokens=lambda: 0)


def _object(piece: str) -> dict[str, Any] | None:
    words = next(line.removeprefix("data: ") for line in piece.splitlines() if line.startswith("data: "))
    return None if words == "[DONE]" else json.loads(words)


names = st.one_of(st.text(max_size=20), st.sampled_from(["files.read", "../x", "日本", "files_read"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
arguments = st.dictionaries(st.text(max_size=9), values, min_size=1, max_size=3).map(json.dumps)
nested = arguments.map(lambda text: json.dumps({"arguments": text}))
words = st.text(max_size=50).map(lambda text: " ".join(text.split()))
calls = st.lists(st.tuples(st.sampled_from(["a", "b", "", "x y"]), names, arguments | nested), max_size=4)


@given(words, calls)
def test_a_reply_is_the_same_over_both_apis_in_pieces_and_whole(
    text: str, made: list[tuple[str, str, str]]
) -> None:
    """Ids that are repeated or none, names that no API takes, arguments within arguments."""
    saying = Saying(text=text, calls=[(call_id, name or "t", given_) for call_id, name, given_ in made])

    pieces = [bounded(read(dialect, saying, whole=False)) for dialect in ("chat", "messages")]
    whole = [bounded(read(dialect, saying, whole=True)) for dialect in ("chat", "messages")]

    assert pieces[0] == pieces[1]
    assert whole[0] == whole[1]
    assert [json.loads(_arguments(reply)) for reply in whole] == [json.loads(_arguments(pieces[0]))] * 2
    assert len({call.call_id for call in pieces[0].calls}) == len(made)


def _arguments(reply: Reply) -> str:
    return "[" + ",".join(getattr(call.proposal, "arguments", "") for call in reply.calls) + "]"


@pytest.mark.parametrize("stream", [True, False])
async def test_thousands_of_calls_are_bounded_alike(dialect: Dialect, *, stream: bool) -> None:
    saying = Saying(calls=[(f"c{n}", "files_list", json.dumps({"n": n})) for n in range(MANY)])
    play = saying.play(dialect) if stream else _whole(saying.whole(dialect))
    async with serving(play) as server:
        reply = await asked(backend_for(server, dialect, stream=stream))

    assert len(reply.calls) == 128
    assert _arguments(reply).startswith('[{"n": 0},{"n": 1},')
    assert _arguments(reply).endswith('{"n": 127}]')
    assert "more than 128 calls" in reply.text


USAGES: Final[list[object]] = [-1, 10**30, "many", 1.5, 1e308, None, [7], {"a": 7}]


@pytest.mark.parametrize("lie", USAGES, ids=str)
async def test_a_usage_that_lies_counts_nothing_and_breaks_nothing(dialect: Dialect, lie: object) -> None:
    """What is no count is none: it is estimated as where nothing is counted."""
    names = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cached_tokens")
    told = {**dict.fromkeys(names, lie), "prompt_tokens_details": {"cached_tokens": lie}}
    more = {"cache_read_input_tokens": lie, "cache_creation_input_tokens": lie}
    end = (
        data({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}], "usage": told})
        if dialect == "chat"
        else event({"type": "content_block_start", "content_block": {"type": "text", "text": "x"}})
        + event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {**told, **more}})
        + event({"type": "message_stop"})
    )
    async with serving(_events(end)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text == "x"
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens) == (19, 1, 0)
    assert reply.usage.estimated


# ---- what else may stand in an event stream

ODD: Final[dict[str, str]] = {
    "an event of an id alone": "id: 7\n\n",
    "an event of a retry alone": "retry: 1\n\n",
    "an event of a name alone": "event: ping\n\n",
    "comments alone": ": a\n: b\n\n:\n\n",
    "a field without a colon": "data\n\n",
    "a field that nobody knows": "colour: red\n\n",
    "a retry that is no number": "retry: soon\n\n",
    "an id with a NUL": "id: a\x00b\n\n",
    "data that is empty": "data: \n\n",
    "an id, ended by CR": "id: 7\r\r",
    "an id, ended by CR LF": "id: 7\r\n\r\n",
}


@pytest.mark.parametrize("name", ODD)
async def test_an_event_that_says_nothing_is_passed_over(dialect: Dialect, name: str) -> None:
    """A proxy's `retry:` at the beginning, for one: OpenAI's SDK takes each for a piece of the reply."""
    text = "".join(ODD[name] + piece for piece in SAID.pieces(dialect))
    async with serving(_events(text)) as server:
        reply = await asked(backend_for(server, dialect))

    assert (reply.text, len(reply.calls)) == (SAID.text, 1)


@pytest.mark.parametrize("name", ["", "event:\n", "event: \n", "event: x\nevent:\n"])
@pytest.mark.parametrize("mark", ["", "data: [DONE]\n\n"])
async def test_events_without_a_name_are_read_and_a_mark_behind_them_passed_over(
    dialect: Dialect, mark: str, name: str
) -> None:
    """An event without a name is a message (HTML, clause 9.2.6); gateways end both APIs with `[DONE]`."""
    pieces = (re.sub("event: .*\n|^(?=data)", name, piece) for piece in SAID.pieces(dialect))
    async with serving(_events("".join([*pieces, mark]))) as server:
        reply = await asked(backend_for(server, dialect))

    assert (reply.text, len(reply.calls)) == (SAID.text, 1)


async def test_an_object_behind_blanks_is_read_without_a_name_too(dialect: Dialect) -> None:
    """Blanks before an object are a part of JSON."""
    pieces = (re.sub("event: .*\n", "", piece) for piece in SAID.pieces(dialect))
    text = "".join(piece.replace("data: {", "data: \t {") for piece in pieces)
    async with serving(_events(text)) as server:
        reply = await asked(backend_for(server, dialect))

    assert (reply.text, len(reply.calls)) == (SAID.text, 1)


async def test_data_of_several_lines_is_joined(dialect: Dialect) -> None:
    """An object that is written over lines is one (HTML, clause 9.2.6: joined by a newline)."""
    text = "".join(piece.replace("data: {", "data: {\ndata: ") for piece in SAID.pieces(dialect))
    async with serving(_events(text)) as server:
        reply = await asked(backend_for(server, dialect))

    assert (reply.text, len(reply.calls)) == (SAID.text, 1)


async def test_a_stream_without_its_last_mark_is_whole_where_it_said_its_end(dialect: Dialect) -> None:
    """`[DONE]` and `message_stop` add nothing to the reason why the model stopped; without that it is cut."""
    pieces = SAID.pieces(dialect)
    ends = {"chat": '"finish_reason": "', "messages": '"stop_reason": "'}[dialect]
    said_end = next(number for number, piece in enumerate(pieces, 1) if ends in piece)
    plays = [_events("".join(pieces[:length])) for length in (said_end, said_end - 1)]
    async with serving(*plays) as server:
        reply = await asked(backend_for(server, dialect))
        error = await refused(backend_for(server, dialect))

    assert (reply.text, len(reply.calls)) == (SAID.text, 1)
    assert error.failure.kind == "broken"


async def test_bytes_that_are_split_at_any_place_are_the_same_reply(dialect: Dialect) -> None:
    raw = "".join(SAID.pieces(dialect)).encode()
    place = 0

    async def play(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send(raw[:place])
        await asyncio.sleep(0)
        await line.send(raw[place:])

    async with serving(play) as server:
        backend = backend_for(server, dialect)
        for place in range(0, len(raw), 23):  # noqa: B007 - the play reads it
            reply = await backend.ask(TALK, (TOOL,))
            assert (reply.text, len(reply.calls)) == (SAID.text, 1)
        await backend.close()


YEARS: Final = ("9" * 9, "Fri, 31 Dec 9999 23:59:59 -2359", f"Sun, 1 Mar 2099 0:0:{'9' * 30}")


@pytest.mark.parametrize("wait", YEARS)
async def test_a_server_that_asks_for_years_is_not_waited_for(dialect: Dialect, wait: str) -> None:
    """A wait that cannot be read is none: the question is put anew as if nothing had been asked for."""

    async def busy(line: Line, _: Asked) -> None:
        await line.head(429, {"retry-after": wait})

    async with serving(busy) as server:
        error = await refused(backend_for(server, dialect, attempts=3))

    assert (error.failure.kind, error.failure.status) == ("overloaded", 429)
    assert len(server.asked) == (3 if error.failure.retry_after_seconds is None else 1)


def _events(text: str) -> Callable[[Line, Asked], Awaitable[None]]:
    async def play(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send(text)

    return play


def _whole(body: object) -> Callable[[Line, Asked], Awaitable[None]]:
    async def play(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "application/json"})
        await line.send(json.dumps(body))

    return play
