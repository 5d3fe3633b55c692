"""One contract for every backend, over real connections to a server on loopback, through the real SDKs."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends import pieces as bounds
from agent_runner.backends import wire
from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import (
    Backend,
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.key import KeyReference
from agent_runner.backends.retry import Patience
from agent_runner.backends.server import Server
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool
from tests.contract.model_server import (
    PATHS,
    Asked,
    Dialect,
    Line,
    ModelServer,
    Saying,
    answer,
    data,
    event,
    serving,
    stream,
)

if TYPE_CHECKING:
    from pathlib import Path

TALK: tuple[Message, ...] = (SystemMessage(text="You act."), UserMessage(text="List the files."))
TOOL = Tool(name="files_list", description="List.", parameters={"type": "object", "properties": {}})
SECRET = "sk-very-secret-0123456789"  # noqa: S105 - a made-up key that must show up nowhere


async def never_sleep(_seconds: float) -> None:
    """Wait for nothing: the waits themselves are tested where they are decided."""


@pytest.fixture(params=["chat", "messages"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Return each API in turn."""
    value: Dialect = request.param
    return value


def backend_for(
    server: ModelServer, dialect: Dialect, *, attempts: int = 1, **settings: Any
) -> OpenAIBackend | AnthropicBackend:
    """Return a backend for a server."""
    waits = Patience(attempts=attempts, sleep=never_sleep)
    described = Server(**{"base_url": server.base_url(dialect), "model": "m", **settings})
    kind = OpenAIBackend if dialect == "chat" else AnthropicBackend
    return kind(described, name="default", patience=waits)


async def asked(backend: Backend, talk: tuple[Message, ...] = TALK) -> Reply:
    """Ask once and close."""
    try:
        return await backend.ask(talk, (TOOL,))
    finally:
        await backend.close()


async def refused(backend: Backend) -> ModelServerError:
    """Ask once and return the error."""
    with pytest.raises(ModelServerError) as caught:
        await asked(backend)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600
    return caught.value


async def test_text_comes_whole_and_is_counted(dialect: Dialect) -> None:
    async with serving(Saying(text="There are two files.").play(dialect)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply == Reply(
        text="There are two files.",
        usage=Usage(input_tokens=100, output_tokens=7, cached_tokens=40),
    )
    assert (server.asked[0].method, server.asked[0].path) == ("POST", PATHS[dialect])


async def test_parallel_calls_come_in_order_with_their_arguments(dialect: Dialect) -> None:
    calls = [("a1", "files_read", '{"path": "x"}'), ("a2", "files_list", '{"depth": 2}')]
    async with serving(Saying(text="Both.", calls=calls).play(dialect)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.calls == tuple(
        Call(call_id=i, proposal=ToolProposal(tool=n, arguments=a)) for i, n, a in calls
    )


async def test_a_server_that_gives_the_reply_in_one_piece_is_read(dialect: Dialect) -> None:
    saying = Saying(text="One.", calls=[("a1", "files_list", '{"depth": 2}')])
    async with serving(answer(200, saying.whole(dialect))) as server:
        asked_for_stream = await asked(backend_for(server, dialect))
        asked_for_whole = await asked(backend_for(server, dialect, stream=False))

    assert asked_for_stream == asked_for_whole
    assert asked_for_stream.text == "One."
    assert [call.proposal for call in asked_for_stream.calls] == [
        ToolProposal(tool="files_list", arguments='{"depth": 2}')
    ]
    assert [request.json["stream"] for request in server.asked] == [True, False]


async def test_calls_that_nobody_declared_come_through_for_the_gate_to_refuse(dialect: Dialect) -> None:
    calls = [("a1", "rm -rf / \u202e", '{"path": 1, "more": [}')]
    async with serving(Saying(calls=calls).play(dialect)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.calls[0].proposal == ToolProposal(tool=calls[0][1], arguments=calls[0][2])


async def test_a_reply_of_nothing_is_empty_and_no_failure(dialect: Dialect) -> None:
    async with serving(Saying().play(dialect)) as server:
        reply = await asked(backend_for(server, dialect))

    assert (reply.text, reply.calls) == ("", ())


STATUSES = [
    (400, "refused"),
    (401, "refused"),
    (403, "refused"),
    (404, "refused"),
    (413, "refused"),
    (422, "refused"),
    (408, "overloaded"),
    (429, "overloaded"),
    (500, "overloaded"),
    (502, "overloaded"),
    (503, "overloaded"),
    (529, "overloaded"),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_every_status_is_named_and_only_what_may_pass_is_tried_again(
    dialect: Dialect, status: int, kind: str
) -> None:
    async with serving(answer(status, {"error": {"message": "too bad"}})) as server:
        error = await refused(backend_for(server, dialect, attempts=3))

    assert (error.failure.kind, error.failure.status) == (kind, status)
    assert "too bad" in error.message
    assert len(server.asked) == (3 if kind == "overloaded" else 1)


async def test_a_server_that_recovers_is_asked_again_with_the_same_bytes(dialect: Dialect) -> None:
    plays = (answer(529, {"message": "busy"}), answer(503, "no"), Saying(text="Yes.").play(dialect))
    async with serving(*plays) as server:
        reply = await asked(backend_for(server, dialect, attempts=5))

    assert reply.text == "Yes."
    assert len({request.body for request in server.asked}) == 1
    assert len(server.asked) == 3


BODIES = [
    ({"error": {"message": "the reason", "type": "x"}}, "the reason"),
    ({"error": "the reason"}, "the reason"),
    ({"message": "the reason", "type": "overloaded", "code": 529}, "the reason"),
    ({"object": "error", "message": "the reason", "code": 40303}, "the reason"),
    ({"detail": "the reason"}, "the reason"),
    ({"detail": [{"loc": ["body"], "msg": "the reason"}]}, "the reason"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "the reason"}}, "the reason"),
    ({"error": {"message": '{"error": {"message": "the reason"}}'}}, "the reason"),
    ("the reason", "the reason"),
    ("<html><body>\n\n502 Bad Gateway", "an HTML page"),
    ("\x1b[2J\n\nthe reason\r\n" + "x" * 100_000, "the reason"),
    ([], ""),
    ([1, None, {}], ""),
    (None, ""),
    ("", ""),
    (b"\xff\xfe\x00", ""),
]


@pytest.mark.parametrize(("body", "words"), BODIES, ids=range(len(BODIES)))
async def test_an_error_of_any_shape_is_one_bounded_line(dialect: Dialect, body: object, words: str) -> None:
    async with serving(answer(500, body)) as server:
        error = await refused(backend_for(server, dialect))

    assert words in error.message
    assert error.failure.status == 500


MID_STREAM = {
    "chat": [
        data({"error": {"message": "worker died", "code": 500}}) + "data: [DONE]\n\n",
        data({"message": "worker died", "type": "internal", "code": 500}) + "data: [DONE]\n\n",
        data({"object": "error", "message": "worker died", "code": 500}),
        'event: error\ndata: {"message": "worker died", "code": 500}\n\ndata: [DONE]\n\n',
        data({"error": "worker died"}),
    ],
    "messages": [
        event({"type": "error", "error": {"type": "overloaded_error", "message": "worker died"}}),
        'event: error\ndata: {"error": "worker died"}\n\n',
        "event: error\ndata: worker died\n\n",
    ],
}


@pytest.mark.parametrize(
    ("dialect", "piece"), [(dialect, piece) for dialect, all_of in MID_STREAM.items() for piece in all_of]
)
async def test_an_error_in_mid_stream_is_a_failure_and_not_a_short_reply(
    dialect: Dialect, piece: str
) -> None:
    begun = Saying(text="I will now").pieces(dialect)[:3]
    async with serving(stream(*begun, piece), Saying(text="Whole.").play(dialect)) as server:
        error = await refused(backend_for(server, dialect))
        server.asked.clear()
        again = await asked(backend_for(server, dialect, attempts=2))

    assert error.failure.kind == "broken"
    assert "worker died" in error.message
    assert again.text == "Whole."


REQUEST_IS_WRONG = {
    "chat": data({"error": {"message": "no `max_tokens`", "type": "x", "code": 400}}) + "data: [DONE]\n\n",
    "messages": event({"type": "error", "error": {"type": "invalid_request_error", "message": "no `x`"}}),
}


async def test_an_error_in_mid_stream_that_says_the_request_is_wrong_is_not_tried_again(
    dialect: Dialect,
) -> None:
    """Seen in Dynamo: a worker's refusal comes as a chunk of a stream whose status was 200."""
    async with serving(stream(REQUEST_IS_WRONG[dialect])) as server:
        error = await refused(backend_for(server, dialect, attempts=4))

    assert error.failure.kind == "refused"
    assert "failed within its reply: no `" in error.message
    assert len(server.asked) == 1


async def test_a_reply_at_the_servers_length_is_read_to_its_end(dialect: Dialect) -> None:
    """Seen in Dynamo: the count of tokens comes after the finish reason, whatever that was."""
    pieces = Saying(text="and so").pieces(dialect)
    cut = [piece.replace('"stop"', '"length"').replace("end_turn", "max_tokens") for piece in pieces]
    async with serving(stream(*cut)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text.startswith("and so\n[the reply was cut here: it reached the length that")
    assert reply.usage == Usage(input_tokens=100, output_tokens=7, cached_tokens=40)


async def test_a_stream_that_just_ends_is_a_failure(dialect: Dialect) -> None:
    """A killed server closes its connection, which looks like an end: only a finish reason is one."""
    whole = Saying(text="I will now delete", calls=[("a1", "files_list", "{}")]).pieces(dialect)
    for cut in (0, 1, 3, len(whole) - (3 if dialect == "chat" else 2)):
        async with serving(stream(*whole[:cut])) as server:
            error = await refused(backend_for(server, dialect))

        assert error.failure.kind == "broken", cut


GARBAGE = [
    b"data: {not json}\n\n",
    b"event: message_start\ndata: {not json}\n\n",
    b"data: []\n\n",
    b"event: ping\ndata: 7\n\nevent: message_start\ndata: 7\n\n",
    b'data: "text"\n\n',
    b"data: null\n\n",
    b"data: \xff\xfe\n\n",
    b"data: " + b"[" * 100_000 + b"\n\n",
    b'data: {"choices": {"0": 1}}\n\n',
    b'data: {"choices": [null, 3]}\n\n',
    b'data: {"choices": [{"delta": [1], "finish_reason": null}]}\n\n',
    b'event: message_start\ndata: {"type": "message_start", "message": 3}\n\n',
    b'event: content_block_start\ndata: {"type": "content_block_start", "index": {}}\n\n',
    b"\x00" * 1000,
    b"<html>",
]


@pytest.mark.parametrize("raw", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_is_a_failure_and_never_a_fault_of_ours(dialect: Dialect, raw: bytes) -> None:
    async with serving(stream(raw), answer(200, raw), answer(200, b'{"a": ' + raw)) as server:
        errors = [await refused(backend_for(server, dialect, stream=number != 2)) for number in range(3)]

    assert {error.failure.kind for error in errors} == {"broken"}


async def test_what_is_no_http_is_a_failure(dialect: Dialect) -> None:
    async def play(line: Line, _asked: Asked) -> None:
        await line.send(b"SSH-2.0-OpenSSH_9.2\r\n")

    async with serving(play) as server:
        error = await refused(backend_for(server, dialect))

    assert error.failure.kind == "broken"


async def test_nobody_listening_is_unreachable(dialect: Dialect) -> None:
    async with serving(answer(200, "")) as server:
        pass

    error = await refused(backend_for(server, dialect))

    assert error.failure.kind == "unreachable"
    assert f"`127.0.0.1:{server.port}` cannot be reached" in error.message


async def test_a_server_that_says_nothing_is_given_up(dialect: Dialect) -> None:
    async def play(line: Line, _asked: Asked) -> None:
        await line.closed.wait()

    async with serving(play) as server:
        error = await refused(backend_for(server, dialect, silence_seconds=0.2))
        await server.gone()

    assert error.failure.kind == "timeout"
    assert "was silent for 0.2 s" in error.message


async def test_a_reply_that_trickles_for_ever_is_given_up_and_its_server_told(dialect: Dialect) -> None:
    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        while not line.closed.is_set():
            await line.send(": alive\n\n")
            await asyncio.sleep(0.02)

    async with serving(play) as server:
        error = await refused(backend_for(server, dialect, timeout_seconds=2.0))
        await server.gone()

    assert error.failure.kind == "timeout"
    assert "did not finish its reply within 2 s" in error.message


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


async def test_the_key_goes_in_its_header_and_nowhere_else(dialect: Dialect, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    reference = KeyReference(file=str(tmp_path / "key"))
    async with serving(Saying(text="Yes.").play(dialect)) as server:
        await asked(backend_for(server, dialect, key=reference))

    name, value = ("authorization", f"Bearer {SECRET}") if dialect == "chat" else ("x-api-key", SECRET)
    holding = {header: text for header, text in server.asked[0].headers.items() if SECRET in text}
    assert holding == {name: value}
    assert SECRET.encode() not in server.asked[0].body


async def test_a_key_that_the_server_echoes_is_not_in_the_error(dialect: Dialect, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    reference = KeyReference(file=str(tmp_path / "key"))
    body = {"error": {"message": f"Incorrect API key provided: {SECRET}."}}
    async with serving(answer(401, body)) as server:
        error = await refused(backend_for(server, dialect, key=reference))

    assert "Incorrect API key provided: [key]." in error.message
    assert "does not accept the key" in error.hint
    assert SECRET not in error.message + error.hint


async def test_the_key_does_not_follow_a_redirect(dialect: Dialect, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    reference = KeyReference(file=str(tmp_path / "key"))
    async with serving(Saying(text="Stolen.").play(dialect)) as thief:
        for status in (301, 302, 307, 308):
            location = f"{thief.origin}{PATHS[dialect]}"
            async with serving(answer(status, "", {"location": location})) as server:
                error = await refused(backend_for(server, dialect, key=reference))
            assert (error.failure.kind, error.failure.status) == ("refused", status)

    assert thief.asked == []


async def test_nothing_of_the_environment_leaves_or_leads_elsewhere(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDKs would read keys, headers, addresses, profiles and proxies from the environment."""
    async with serving(Saying(text="Stolen.").play(dialect)) as thief:
        for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
            monkeypatch.setenv(name, SECRET)
        for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
            monkeypatch.setenv(name, SECRET)
        for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
            monkeypatch.setenv(name, f"x-evil: {SECRET}\nanthropic-beta: mcp-client\nauthorization: {SECRET}")
        for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, thief.origin)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with serving(Saying(text="Yes.").play(dialect)) as server:
            reply = await asked(backend_for(server, dialect))

    headers = server.asked[0].headers
    assert reply.text == "Yes."
    assert thief.asked == []
    assert SECRET not in json.dumps(headers)
    known = {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "user-agent",
    }
    assert set(headers) - known == (set() if dialect == "chat" else {"anthropic-version"})


def after(reply: Reply, *results: str) -> tuple[Message, ...]:
    """Return what a turn adds to the conversation."""
    seen = tuple(
        ObservationMessage(call_id=call.call_id, text=text, refused=text.startswith("denied"))
        for call, text in zip(reply.calls, results, strict=True)
    )
    return (ModelMessage(reply=reply), *seen)


HOSTILE = [
    ("", "", ""),
    ("", "rm -rf /", "[1"),
    ("c", "x" * 5000, '"text"'),
    ("c", "files_list", '{"n": NaN}'),
    ("c\n\u202e", "f\u00fc", '{"a": "\\ud800"}'),
    ("x" * 500, "files_list", "[" * 5000),
]


async def test_a_call_prefix_is_a_byte_prefix_of_the_next_call(dialect: Dialect) -> None:
    """What a server has cached stays valid: messages only grow at the end, and all else stays the same."""
    first = Saying(text="Go.", calls=HOSTILE if dialect == "chat" else [("c", "files_list", "{}")])
    plays = [first.play(dialect), Saying(calls=[("c", "files_list", "{}")]).play(dialect)]
    async with serving(*plays) as server:
        backend = backend_for(server, dialect)
        talk = TALK
        for turn in range(4):
            reply = await backend.ask(talk, (TOOL,))
            talk = (*talk, *after(reply, *(f"result {turn} \udcff" for _ in reply.calls)))
        await backend.close()

    for before, later in zip(server.asked, server.asked[1:], strict=False):
        old, new = before.json, later.json
        assert _bytes(new["messages"]).startswith(_bytes(old["messages"])[:-1])
        assert len(new["messages"]) > len(old["messages"])
        assert _without_messages(before) == _without_messages(later)


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _without_messages(request: Asked) -> dict[str, Any]:
    assert request.body == json.dumps(request.json, separators=(",", ":"), ensure_ascii=False).encode()
    return {name: value for name, value in request.json.items() if name != "messages"}


async def test_ids_are_unique_in_the_session_whatever_the_server_calls_them(dialect: Dialect) -> None:
    calls = [("call_0", "files_list", "{}"), ("call_0", "files_list", "{}"), ("", "files_list", "{}")]
    async with serving(Saying(calls=calls).play(dialect)) as server:
        backend = backend_for(server, dialect)
        one = await backend.ask(TALK, (TOOL,))
        two = await backend.ask((*TALK, *after(one, "a", "b", "c")), (TOOL,))
        await backend.close()

    ids = [call.call_id for call in (*one.calls, *two.calls)]
    assert len(set(ids)) == 6
    assert ids[0] == "call_0"
    assert all(ids)


async def test_what_a_server_does_not_count_is_estimated(dialect: Dialect) -> None:
    pieces = [piece for piece in Saying(text="four" * 25).pieces(dialect) if '"choices": []' not in piece]
    bare = [piece.replace('"usage"', '"other"') for piece in pieces]
    async with serving(stream(*bare)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.usage.estimated
    assert reply.usage.output_tokens == 25
    assert reply.usage.input_tokens > 20
