"""A reply reaches the agent while the model still speaks, in each API's pieces; one that breaks is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anthropic
import openai
import pytest

from agent_runner.backends.aloud import ArgumentsTold, CallTold, TextTold
from agent_runner.backends.backend import Call, Reply
from agent_runner.backends.route import RouteBackend
from agent_runner.errors import BackendError
from agent_runner.gateway.parsing import Parsing
from agent_runner.gateway.telling import Telling
from cli_tools.action import ToolProposal
from tests.agent_runner.gateway.test_book import Ledger
from tests.contract.asking import backend_for
from tests.contract.model_server import Saying, data, event, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Backend
    from tests.contract.model_server import Asked, Dialect, Line, ModelServer

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


# ---- each API as its SDK reads it: (kind, words) for each piece

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


@pytest.mark.parametrize("api", READERS)
async def test_the_sdk_sees_the_first_piece_before_the_last_was_sent(
    api: str, dialect: Dialect, tmp_path: Path
) -> None:
    paused = Paused()
    seen: list[tuple[str, str]] = []
    async with (
        serving(paused.play(dialect, until="It")) as server,
        gateway(backend_for(server, dialect), ledger := Ledger(tmp_path)) as origin,
    ):
        async for kind, words in READERS[api](origin):
            if not seen:
                assert not paused.go_on.is_set()
                assert (kind, words) == ("text", FIRST[dialect])
                paused.go_on.set()
            seen.append((kind, words))

    assert "".join(words for kind, words in seen if kind == "text") == SAYING.text
    assert "".join(words for kind, words in seen if kind == "call") == CALL[2]
    assert seen[-1] == ("end", ENDS[api])
    answered = ledger.entries("model.answered")
    assert [(e["input_tokens"], e["output_tokens"]) for e in answered] == [(100, 7)]
    assert ledger.entries("model.failed") == []


@pytest.mark.parametrize("api", READERS)
async def test_a_calls_arguments_come_in_pieces_too(api: str, tmp_path: Path) -> None:
    paused = Paused()
    seen: list[tuple[str, str]] = []
    async with (
        serving(paused.play("chat", until='{\\"city')) as server,
        gateway(backend_for(server, "chat"), Ledger(tmp_path)) as origin,
    ):
        async for kind, words in READERS[api](origin):
            seen.append((kind, words))
            if words.startswith('{"ci'):
                assert not paused.go_on.is_set()
                paused.go_on.set()

    assert paused.go_on.is_set()
    assert "".join(words for kind, words in seen if kind == "call") == CALL[2]


ERRORS: Final[dict[Dialect, str]] = {
    "chat": data({"error": {"message": "the worker died", "code": 500}}),
    "messages": event({"type": "error", "error": {"type": "api_error", "message": "the worker died"}}),
}
RAISED: Final = {"chat": openai.APIError, "responses": LookupError, "messages": anthropic.APIStatusError}


async def read_on(
    pieces: AsyncIterator[tuple[str, str]], paused: Paused, seen: list[tuple[str, str]]
) -> None:
    async for piece in pieces:
        seen.append(piece)
        paused.go_on.set()


@pytest.mark.parametrize("api", READERS)
async def test_a_stream_that_breaks_is_told_as_the_apis_own_error_and_asked_once(
    api: str, dialect: Dialect, tmp_path: Path
) -> None:
    """What an agent has read cannot be taken back, so neither a retry nor another model begins anew."""
    paused = Paused(last=ERRORS[dialect])
    seen: list[tuple[str, str]] = []
    ledger = Ledger(tmp_path)
    async with serving(paused.play(dialect, until="It")) as server:
        backend = backend_for(server, dialect, attempts=3)
        route = RouteBackend({"one": backend, "two": backend}, name="both", notice=lambda _: None)
        async with gateway(route, ledger) as origin:
            with pytest.raises(RAISED[api], match="the worker died"):
                await read_on(READERS[api](origin), paused, seen)

    assert seen == [("text", FIRST[dialect])]
    assert len(server.asked) == 1
    assert ledger.budget.output_tokens > 0
    [failed] = ledger.entries("model.failed")
    assert "the worker died" in failed["error"]
    assert f"the agent was told:\\n{FIRST[dialect]}" in ledger.openings()


async def test_one_that_breaks_before_its_first_piece_is_asked_again(tmp_path: Path) -> None:
    """The twin: nothing was told, so the question is put anew, and nobody notices."""
    broken = data({"error": {"message": "the worker died", "code": 500}})

    async def dying(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send(broken)

    async with (
        serving(dying, SAYING.play("chat")) as server,
        gateway(backend_for(server, "chat", attempts=2), Ledger(tmp_path)) as origin,
    ):
        seen = [piece async for piece in chat(origin)]

    assert seen[-1] == ("end", "tool_calls")
    assert len(server.asked) == 2


async def hung_up(server: ModelServer, origin: str) -> None:
    stream = chat(origin)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
    await server.gone(0)


async def test_hanging_up_in_mid_stream_frees_the_server_and_is_counted_with_what_was_told(
    tmp_path: Path,
) -> None:
    """Otherwise an agent would read each reply but its end, and pay for none."""
    paused, ledger = Paused(), Ledger(tmp_path)
    async with (
        serving(paused.play("chat", until="today")) as server,
        gateway(backend_for(server, "chat"), ledger) as origin,
    ):
        await hung_up(server, origin)
        while not ledger.budget.turns:  # noqa: ASYNC110 - the parser's process tells it when it may
            await asyncio.sleep(0.01)

    assert ledger.budget.output_tokens == -(-len(SAYING.text) // 4)
    assert [entry["error"] for entry in ledger.entries("model.failed")] == [
        "the agent hung up before the answer"
    ]
    assert SAYING.text in ledger.openings()


THOUGHT: Final = "First I have to think about where Basel is. " * 9
SPOKEN: Final = [{"reasoning_content": THOUGHT}, {"content": "It is sunny."}]


def deltas(*parts: dict[str, str]) -> list[str]:
    return [data({"choices": [{"index": 0, "delta": part}]}) for part in parts]


async def paused_in_mid_reply(line: Line, _: Asked) -> None:
    await line.head(200, {"content-type": "text/event-stream"})
    await line.send("".join(deltas(*SPOKEN)))
    await asyncio.Event().wait()


@pytest.mark.parametrize("stops", [{}, {"stop": ["is"]}], ids=["no stop", "behind a stop"])
async def test_hanging_up_is_counted_with_what_the_model_thought_and_said_to_nobody(
    stops: dict[str, list[str]], tmp_path: Path
) -> None:
    """Reasoning costs what text costs, and a stop of one letter would make everything behind it free."""
    ledger = Ledger(tmp_path)
    async with (
        serving(paused_in_mid_reply) as server,
        gateway(backend_for(server, "chat"), ledger) as origin,
    ):
        stream = chat(origin, **stops)
        _, seen = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
        while not ledger.budget.turns:  # noqa: ASYNC110 - the parser's process tells it when it may
            await asyncio.sleep(0.01)

    whole = len(THOUGHT) + len("It is sunny.")
    assert seen == ("It " if stops else "It is sunny.")
    assert ledger.budget.output_tokens == -(-whole // 4)


async def test_a_reply_that_nobody_hears_in_part_is_counted_and_its_question_put_anew(tmp_path: Path) -> None:
    """Without a stream nothing was told, so another attempt is lawful; all that was said costs."""

    async def breaking(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send("".join([*deltas(*SPOKEN), ERRORS["chat"]]))

    ledger = Ledger(tmp_path)
    async with (
        serving(breaking) as server,
        gateway(backend_for(server, "chat", attempts=2), ledger) as origin,
        chat_client(origin) as client,
    ):
        with pytest.raises(openai.APIStatusError, match="the worker died"):
            await client.chat.completions.create(model="main", messages=TALK)

    assert len(server.asked) == 2
    assert ledger.budget.output_tokens == -(-2 * (len(THOUGHT) + len("It is sunny.")) // 4)


async def test_a_stop_cuts_the_stream_where_it_cuts_the_whole(tmp_path: Path) -> None:
    async with (
        serving(SAYING.play("chat")) as server,
        gateway(backend_for(server, "chat"), Ledger(tmp_path)) as origin,
    ):
        seen = [words async for kind, words in chat(origin, stop=["y to", "never"]) if kind == "text"]

    assert "".join(seen) == "It is sunn"


# ---- what is told is the beginning of what was said


class Heard:
    """Keep the steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    async def __call__(self, step: Step) -> None:
        """Keep one."""
        self.steps.append(step)


def called(call_id: str, arguments: str) -> Call:
    return Call(call_id=call_id, proposal=ToolProposal(tool="t", arguments=arguments))


WHOLE: Final = Reply(text="Yes.", calls=(called("a", '{"x": 1}'), called("b", "{}")))
STEPS: Final[list[Step]] = [
    TextTold(text="Yes."),
    CallTold(call_id="a", name="t"),
    ArgumentsTold(text='{"x": 1}'),
    CallTold(call_id="b", name="t"),
    ArgumentsTold(text="{}"),
]


def joined(steps: list[Step]) -> list[Step]:
    """Return steps with what is more of the same put together."""
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        match last, step:
            case (TextTold(text=before), TextTold(text=text)):
                found[-1] = TextTold(text=before + text)
            case (ArgumentsTold(text=before), ArgumentsTold(text=text)):
                found[-1] = ArgumentsTold(text=before + text)
            case _:
                found.append(step)
    return found


@pytest.mark.parametrize("told", range(len(STEPS) + 1))
async def test_whatever_was_told_the_rest_makes_it_whole(told: int) -> None:
    heard = Heard()
    telling = Telling(heard)
    for step in STEPS[:told]:
        await telling.heard(step)

    await telling.rest(WHOLE)

    assert joined(heard.steps) == STEPS


OTHERS: Final[dict[str, list[Step]]] = {
    "another text": [TextTold(text="No.")],
    "more text": [TextTold(text="Yes. And more.")],
    "another call": [CallTold(call_id="z", name="t")],
    "another name": [CallTold(call_id="a", name="u")],
    "other arguments": [CallTold(call_id="a", name="t"), ArgumentsTold(text='{"y"')],
    "a call left half": [
        CallTold(call_id="a", name="t"),
        ArgumentsTold(text='{"x"'),
        CallTold(call_id="b", name="t"),
    ],
    "a call more": [*STEPS, CallTold(call_id="c", name="t")],
}


@pytest.mark.parametrize("name", OTHERS)
async def test_a_reply_that_is_not_what_was_told_is_an_error_and_never_completed(name: str) -> None:
    heard = Heard()
    telling = Telling(heard)
    for step in OTHERS[name]:
        await telling.heard(step)
    before = list(heard.steps)

    with pytest.raises(BackendError, match="not the one that it began"):
        await telling.rest(WHOLE)

    assert heard.steps == before


HELD: Final[dict[str, tuple[str, str, list[Step]]]] = {
    "no stop": ("I loo", "", [TextTold(text="I loo")]),
    "a beginning of one": ("I look. EN", "", [TextTold(text="I look. EN")]),
    "a stop": ("I lENDook", "", [TextTold(text="I l")]),
    "more behind the call": ("I look.", " Now END.", [TextTold(text="I look."), TextTold(text=" Now ")]),
    "one around the call": ("I look. EN", "D.", [TextTold(text="I look. EN")]),
}


@pytest.mark.parametrize("name", HELD)
async def test_text_that_was_kept_back_for_a_stop_is_told_before_the_call_behind_it(name: str) -> None:
    """Told after it, a reply's text would end behind its calls, or not at all."""
    before, behind, [first, *more] = HELD[name]
    heard = Heard()
    telling = Telling(heard, ("END", "never so long"))
    call: list[Step] = [CallTold(call_id="a", name="t"), ArgumentsTold(text="{}")]
    for step in [TextTold(text=before), *call]:
        await telling.heard(step)
    at_once = joined(heard.steps)

    await telling.rest(Reply(text=before + behind, calls=(called("a", "{}"),)))

    assert at_once == [first, *call]
    assert joined(heard.steps) == [first, *call, *more]


async def test_interleaved_calls_reach_the_agent_in_order_and_whole(tmp_path: Path) -> None:
    """Chat completions may mix the pieces of parallel calls; messages and responses tell them one by one."""
    deltas = [
        {"index": 0, "id": "a", "function": {"name": "t", "arguments": '{"x"'}},
        {"index": 1, "id": "b", "function": {"name": "u", "arguments": '{"y"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "function": {"arguments": ": 2}"}},
    ]
    chunks = [data({"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]}) for each in deltas]
    end = data({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})

    async def play(line: Line, _: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        for chunk in [*chunks, end]:
            await line.send(chunk)

    async with (
        serving(play) as server,
        gateway(backend_for(server, "chat"), Ledger(tmp_path)) as origin,
        messages_client(origin) as client,
        client.messages.stream(model="main", max_tokens=99, messages=TALK) as stream,
    ):
        final = await stream.get_final_message()

    assert [json.dumps(block.input) for block in final.content if block.type == "tool_use"] == [
        '{"x": 1}',
        '{"y": 2}',
    ]
