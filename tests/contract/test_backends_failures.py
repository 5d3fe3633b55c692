"""How servers fail: each way has its name, and is tried again only where that can help."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.asking import asked, backend_for, refused
from tests.contract.model_server import (
    Asked,
    Dialect,
    Line,
    Saying,
    answer,
    data,
    event,
    serving,
    stream,
)

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


UNPAID = [
    ({"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}}, 1),
    ({"type": "error", "error": {"type": "billing_error", "message": "no"}}, 1),
    ({"error": {"message": "no", "type": "requests", "code": "billing_hard_limit_reached"}}, 1),
    ({"error": {"message": 'OpenAIException: {"code": "insufficient_quota"}', "code": "429"}}, 1),
    ({"error": {"message": "check your plan and billing details", "code": "rate_limit_exceeded"}}, 3),
]


@pytest.mark.parametrize(("body", "tries"), UNPAID)
async def test_an_account_that_may_spend_no_more_is_not_asked_for_again(
    dialect: Dialect, body: object, tries: int
) -> None:
    """429 means that as well; a rate that is too high is tried again, though its words name the billing."""
    async with serving(answer(429, body)) as server:
        error = await refused(backend_for(server, dialect, attempts=3))

    assert (error.failure.kind, error.failure.status) == ("refused" if tries == 1 else "overloaded", 429)
    assert error.hint == ("the account may spend no more: see its billing at the provider" * (tries == 1))
    assert len(server.asked) == tries


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


TOO_LONG = [
    (400, "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens"),
    (400, "The input (9000 tokens) is longer than the model's context length (4096 tokens)."),
    (400, "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it"),
    (500, "Context size has been exceeded."),
    (500, "The sum of prompt length (9351.0), query length (0) should not exceed max_num_tokens (8192)"),
    (400, "prompt is too long: 205148 tokens > 200000 maximum"),
    (413, "Prompt length (5056) exceeds maximum sequence length (2048)"),
    (
        400,
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
    ),
    (400, "Input length 131393 exceeds the maximum allowed input length of 131040 tokens."),
    (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    (400, "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)."),
    (400, "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)"),
    (400, "Prompt exceeds max length"),
    (400, "Input is too long for requested model."),
    (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 9000"),
    (
        429,
        "Request too large for gpt-x on tokens per min (TPM): Limit 30000, Requested 37313.",
    ),
    (
        413,
        "Request too large for model `x` on tokens per minute (TPM): Limit 8000, Requested 34041",
    ),
]


@pytest.mark.parametrize(("status", "words"), TOO_LONG)
async def test_a_conversation_that_is_too_long_is_said_to_be_and_not_sent_again(
    dialect: Dialect, status: int, words: str
) -> None:
    async with serving(answer(status, {"error": {"message": words}})) as server:
        error = await refused(backend_for(server, dialect, attempts=3))

    assert (error.failure.kind, error.failure.status) == ("refused", status)
    assert error.hint.startswith("the conversation is longer than the model takes in: see `context`")
    assert len(server.asked) == 1


async def test_a_code_says_too_that_a_conversation_is_too_long(dialect: Dialect) -> None:
    """As Groq's does; the twin is a quota that the next minute has room for, whatever it calls the model."""
    body = {"error": {"message": "Please reduce the length.", "code": "context_length_exceeded"}}
    full = {
        "error": {"message": "Rate limit reached for long-context-window-1", "code": "rate_limit_exceeded"}
    }
    async with serving(answer(400, body)) as server:
        too_long = await refused(backend_for(server, dialect, attempts=3))
    async with serving(answer(429, full)) as busy:
        later = await refused(backend_for(busy, dialect, attempts=3))

    assert (too_long.failure.too_long, len(server.asked)) == (True, 1)
    assert (later.failure.too_long, len(busy.asked)) == (False, 3)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "maximum context length is 9 tokens", "code": 500},
        {"message": "maximum context length is 9 tokens", "type": "api_error"},
        {"message": "maximum context length is 9 tokens", "code": 400},
    ],
)
async def test_a_conversation_that_is_too_long_is_not_sent_again_where_a_stream_says_so(
    dialect: Dialect, error: dict[str, object]
) -> None:
    """With 200 before it, and a code of its own or none."""
    piece = data({"error": error}) if dialect == "chat" else event({"type": "error", "error": error})
    async with serving(stream(piece)) as server:
        refusal = await refused(backend_for(server, dialect, attempts=3))

    assert (refusal.failure.kind, refusal.failure.too_long) == ("refused", True)
    assert len(server.asked) == 1


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
    begun = Saying(text="I will now").pieces(dialect)[:4]
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
