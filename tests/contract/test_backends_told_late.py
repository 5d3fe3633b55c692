"""What a server tells behind its 200: that it is overloaded, that it is no model's, that it did not count."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.asking import asked, backend_for, refused
from tests.contract.model_server import Saying, answer, data, event, serving, stream

if TYPE_CHECKING:
    from tests.contract.model_server import Asked, Dialect, Line

SAID = Saying(text="It is sunny today.")


def error(dialect: Dialect, **members: object) -> str:
    """Return an error as a server tells it within a stream."""
    return data({"error": members}) if dialect == "chat" else event({"type": "error", "error": members})


OVERLOADS: list[tuple[dict[str, object], int]] = [
    ({"type": "overloaded_error", "message": "Overloaded"}, 529),
    ({"type": "rate_limit_error", "message": "Overloaded"}, 429),
    ({"code": 529, "message": "Overloaded"}, 529),
    ({"code": 503, "type": "unavailable_error", "message": "Overloaded"}, 503),
]


@pytest.mark.parametrize(("members", "status"), OVERLOADS)
async def test_an_overload_before_any_words_is_one_as_if_it_stood_before_the_stream(
    dialect: Dialect, members: dict[str, object], status: int
) -> None:
    """So it is asked again, and a session that was answered before waits for it."""
    begun = SAID.pieces(dialect)[:1]  # the role, or the message's head
    async with serving(stream(*begun, error(dialect, **members)), SAID.play(dialect)) as server:
        failed = await refused(backend_for(server, dialect))
        server.asked.clear()
        reply = await asked(backend_for(server, dialect, attempts=2))

    assert (failed.failure.kind, failed.failure.status) == ("overloaded", status)
    assert (reply.text, len(server.asked)) == (SAID.text, 2)


async def test_an_overload_behind_words_is_no_more_than_a_breach(dialect: Dialect) -> None:
    """The words may be paid for, and so would those of each try of two hours."""
    begun = SAID.pieces(dialect)[:4]
    late = error(dialect, type="overloaded_error", message="Overloaded")
    async with serving(stream(*begun, late)) as server:
        failed = await refused(backend_for(server, dialect))

    assert (failed.failure.kind, "Overloaded" in failed.message) == ("broken", True)


async def test_an_account_that_may_spend_no_more_is_not_asked_again_where_a_stream_says_so(
    dialect: Dialect,
) -> None:
    spent = error(dialect, code="insufficient_quota", type="insufficient_quota", message="no quota")
    async with serving(stream(spent)) as server:
        failed = await refused(backend_for(server, dialect, attempts=3))

    assert (failed.failure.kind, len(server.asked)) == ("refused", 1)
    assert "billing" in failed.hint


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "said",
    [
        {"type": "error", "code": 400, "message": "prompt is too long"},
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long"}},
    ],
    ids=["flat", "nested"],
)
async def test_an_error_is_one_whether_its_event_has_a_name_and_its_words_a_member_of_their_own(
    dialect: Dialect, said: dict[str, object], *, named: bool
) -> None:
    """A conversation that is too long was asked again and again, as a reply that broke off."""
    piece = event(said) if named else data(said)
    async with serving(stream(*SAID.pieces(dialect)[:1], piece)) as server:
        failed = await refused(backend_for(server, dialect, attempts=3))

    assert (failed.failure.kind, failed.failure.too_long, len(server.asked)) == ("refused", True, 1)
    assert "prompt is too long" in failed.message


@pytest.mark.parametrize("last", [True, False])
async def test_a_reply_that_does_not_say_why_it_ended_is_refused_and_told_so(
    dialect: Dialect, *, last: bool
) -> None:
    """Whether its last mark came or not: nobody knows whether it is whole."""
    member = {"chat": "finish_reason", "messages": "stop_reason"}[dialect]
    *pieces, done = (piece for piece in SAID.pieces(dialect) if f'"{member}": "' not in piece)
    async with serving(stream(*pieces, *[done] * last)) as server:
        failed = await refused(backend_for(server, dialect))

    assert failed.failure.kind == "broken"
    assert failed.message.endswith(f"broke off its reply, or never said why it ended (`{member}`)")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "the engine is gone"}}, "the engine is gone"),
        ({"detail": "gone, too"}, "gone, too"),
    ],
)
async def test_what_a_server_says_in_place_of_a_reply_is_told(
    dialect: Dialect, body: dict[str, object], words: str, *, stream: bool
) -> None:
    async with serving(answer(200, body)) as server:
        failed = await refused(backend_for(server, dialect, stream=stream))

    assert words in failed.message


async def test_a_page_in_place_of_a_reply_is_called_so(dialect: Dialect) -> None:
    """A portal, or another service at that address: no reply has begun that could break off."""
    page = answer(200, "<html>Please log in</html>", {"content-type": "text/html"})
    async with serving(page) as server:
        failed = await refused(backend_for(server, dialect))

    assert failed.message.endswith("answered with `text/html`, which is no reply")
    assert "base_url" in failed.hint


@pytest.mark.parametrize(("status", "kind", "tries"), [(401, "refused", 1), (529, "overloaded", 2)])
async def test_an_error_that_is_packed_unasked_keeps_its_status(
    dialect: Dialect, status: int, kind: str, tries: int
) -> None:
    """What it says cannot be read: it was not asked for so, and could be a bomb."""
    packed = answer(status, gzip.compress(b"{}"), {"content-encoding": "gzip", "retry-after": "7"})
    async with serving(packed) as server:
        failed = await refused(backend_for(server, dialect, attempts=2))

    told = failed.failure
    assert (told.kind, told.status, told.retry_after_seconds) == (kind, status, 7.0)
    assert len(server.asked) == tries


NO_COUNTS: dict[str, dict[Dialect, dict[str, Any]]] = {
    "zeros": {
        "chat": {"prompt_tokens": 0, "completion_tokens": 0},
        "messages": {"input_tokens": 0, "output_tokens": 0},
    },
    "below zero": {
        "chat": {"prompt_tokens": -1, "completion_tokens": -1},
        "messages": {"input_tokens": -1, "output_tokens": -1},
    },
    "text": {
        "chat": {"prompt_tokens": "nine", "completion_tokens": "nine"},
        "messages": {"input_tokens": "nine", "output_tokens": "nine"},
    },
}


def counted(dialect: Dialect, usage: dict[str, Any]) -> list[str]:
    """Return a reply whose usage, wherever it is told, is this."""
    if dialect == "chat":
        choice = {"index": 0, "delta": {"content": "Yes, it is."}, "finish_reason": "stop"}
        return [data({"choices": [choice]}), data({"choices": [], "usage": usage}), "data: [DONE]\n\n"]
    head = {"type": "message", "role": "assistant", "content": [], "usage": usage}
    block = {"type": "text", "text": "Yes, it is."}
    return [
        event({"type": "message_start", "message": head}),
        event({"type": "content_block_start", "index": 0, "content_block": block}),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}),
        event({"type": "message_stop"}),
    ]


@pytest.mark.parametrize("name", NO_COUNTS)
async def test_a_server_that_counts_nothing_spends_the_budget_too(dialect: Dialect, name: str) -> None:
    """Else a budget of tokens, and of cost, would have no end with it."""
    async with serving(stream(*counted(dialect, NO_COUNTS[name][dialect]))) as server:
        usage = (await asked(backend_for(server, dialect))).usage

    assert usage.estimated
    assert (usage.input_tokens > 0, usage.output_tokens) == (True, 3)


async def test_a_figure_that_a_server_leaves_out_is_estimated_beside_the_one_that_it_counts(
    dialect: Dialect,
) -> None:
    only = {"completion_tokens": 9} if dialect == "chat" else {"output_tokens": 9}
    async with serving(stream(*counted(dialect, only))) as server:
        usage = (await asked(backend_for(server, dialect))).usage

    assert (usage.input_tokens > 0, usage.output_tokens, usage.estimated) == (True, 9, True)


@pytest.mark.parametrize("breach", ["ends", "is silent", "fails"])
async def test_what_was_said_in_replies_that_broke_off_is_counted_with_the_one_that_came(
    dialect: Dialect, breach: str
) -> None:
    """A provider has it paid for; the twin came at once."""
    saying = Saying(text="word " * 800, said=7)
    begun = saying.pieces(dialect)[:-3]  # without its end

    async def broken(line: Line, heard: Asked) -> None:
        await stream(*begun)(line, heard)
        if breach == "fails":
            await line.send('event: error\ndata: {"error": {"message": "died", "code": 500}}\n\n')
        elif breach == "is silent":
            await line.closed.wait()

    whole, patience = saying.play(dialect), {"silence_seconds": 3.0} if breach == "is silent" else {}
    async with serving(broken, broken, whole) as server, serving(whole) as calm:
        late = await asked(backend_for(server, dialect, attempts=3, **patience))
        at_once = await asked(backend_for(calm, dialect, attempts=3))

    assert (late.text, at_once.usage.output_tokens) == (at_once.text, 7)
    assert late.usage.output_tokens == 7 + 2 * 1000
    assert late.usage.input_tokens == at_once.usage.input_tokens
    assert (late.usage.estimated, at_once.usage.estimated) == (True, False)


async def test_counts_that_are_written_as_fractions_are_counts(dialect: Dialect) -> None:
    told = {"prompt_tokens": 12.0, "completion_tokens": 3.0}
    if dialect == "messages":
        told = {"input_tokens": 12.0, "output_tokens": 3.0}
    async with serving(stream(*counted(dialect, told))) as server:
        usage = (await asked(backend_for(server, dialect))).usage

    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (12, 3, False)


@pytest.mark.parametrize("late", [0, -1, None, "nine"])
async def test_what_is_no_count_behind_one_takes_nothing_back(dialect: Dialect, late: object) -> None:
    """Nor does a count of the output alone take back that of the input."""
    if dialect == "chat":
        told = {"prompt_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens": 1}
        lie = {"prompt_tokens": late, "prompt_tokens_details": {"cached_tokens": late}}
        again = data({"choices": [], "usage": {**lie, "completion_tokens": 3}})
        none = data({"choices": [], "usage": {**lie, "completion_tokens": late}})
    else:
        told = {"input_tokens": 8, "cache_read_input_tokens": 4, "output_tokens": 1}
        lie = {"input_tokens": late, "cache_read_input_tokens": late}
        again = event({"type": "message_delta", "delta": {}, "usage": {**lie, "output_tokens": 3}})
        none = event({"type": "message_delta", "delta": {}, "usage": {**lie, "output_tokens": late}})
    *pieces, done = counted(dialect, told)
    async with serving(stream(*pieces, again, none, done)) as server:
        usage = (await asked(backend_for(server, dialect))).usage

    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (12, 4, 3)
    assert not usage.estimated
