"""What backends make of replies, and how the next request grows out of the last."""

from __future__ import annotations

import json
from typing import Any

from agent_runner.backends.backend import (
    Call,
    Reply,
    Usage,
    UserMessage,
)
from agent_runner.backends.estimate import estimated
from agent_runner.backends.media import TOKENS, Media
from cli_tools.action import ToolProposal
from tests.contract.asking import TALK, TOOL, after, asked, backend_for
from tests.contract.model_server import (
    PATHS,
    Asked,
    Dialect,
    Saying,
    answer,
    serving,
    stream,
)


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


async def test_a_reply_tells_why_the_model_stopped_and_when_it_began(dialect: Dialect) -> None:
    """Both stand in the ledger, beside tokens and time."""
    async with serving(Saying(text="and so").play(dialect)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.stop == {"chat": "stop", "messages": "end_turn"}[dialect]
    assert reply.first_token_seconds is not None
    assert reply.first_token_seconds > 0


async def test_a_reply_at_the_servers_length_is_read_to_its_end(dialect: Dialect) -> None:
    """Seen in Dynamo: the count of tokens comes after the finish reason, whatever that was."""
    pieces = Saying(text="and so").pieces(dialect)
    cut = [piece.replace('"stop"', '"length"').replace("end_turn", "max_tokens") for piece in pieces]
    async with serving(stream(*cut)) as server:
        reply = await asked(backend_for(server, dialect))

    assert reply.text.startswith("and so\n[the reply was cut here: it reached the length that")
    assert reply.usage == Usage(input_tokens=100, output_tokens=7, cached_tokens=40)


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
    assert reply.usage.input_tokens == estimated(TALK, (TOOL,))
    assert reply.usage.input_tokens >= len("You act.List the files.files_listList.") // 4


async def test_a_picture_that_a_server_does_not_count_costs_what_one_does(dialect: Dialect) -> None:
    """Its base64 would be a token for every four letters: one of 5 MiB, a whole session's budget."""
    shown = UserMessage(text="?", media=(Media("image/gif", b"GIF89a" + bytes(100_000)),))
    bare = [piece.replace('"usage"', '"other"') for piece in Saying(text="A cat.").pieces(dialect)]
    async with serving(stream(*(piece for piece in bare if '"choices": []' not in piece))) as server:
        reply = await asked(backend_for(server, dialect), (shown,))

    assert len(server.asked[0].body) > 100_000
    assert reply.usage.input_tokens == estimated((shown,), (TOOL,))
    assert TOKENS < reply.usage.input_tokens < TOKENS + 100
