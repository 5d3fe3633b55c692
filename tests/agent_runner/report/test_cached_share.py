"""A report says what share of the tokens that could come from a server's cache did."""

from __future__ import annotations

from agent_runner.report.usage import Usage
from audit import event


def answered(sent: int, cached: int) -> event.ModelAnswered:
    """Return the entry of an answer."""
    return event.ModelAnswered(
        turn=1,
        backend="openai",
        model="m",
        text=None,
        tool_calls=(),
        input_tokens=sent,
        output_tokens=1,
        cached_tokens=cached,
        duration_ms=1,
    )


def told(*turns: tuple[int, int]) -> int | None:
    """Return the share after these turns: tokens in, and those from the cache."""
    usage = Usage()
    for place, (sent, cached) in enumerate(turns):
        usage.take(place, answered(sent, cached))
    return usage.kept_percent


def test_the_share_is_of_what_the_question_before_had_sent() -> None:
    assert told((1000, 0), (1500, 990), (2000, 1485)) == 99
    assert told((1000, 0), (1500, 0), (2000, 48)) == 1


def test_the_first_question_could_come_from_no_cache() -> None:
    assert told() is None
    assert told((1000, 900)) is None


def test_more_from_the_cache_than_the_question_before_had_is_not_more_than_all() -> None:
    """Another session may have sent it; and a conversation that was shortened could have less."""
    assert told((1000, 0), (1500, 1500)) == 100
    assert told((2000, 0), (500, 500)) == 100
