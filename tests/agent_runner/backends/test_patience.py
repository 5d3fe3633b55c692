"""When a model is asked again, and how long is waited before."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.failure import Failure, Kind, ModelServerError, retry_after
from agent_runner.backends.retry import Patience, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable


def error(kind: Kind = "overloaded", asked: float | None = None) -> ModelServerError:
    """Return an error."""
    return ModelServerError("no", failure=Failure(kind=kind, retry_after_seconds=asked), hint="h")


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        ("overloaded", True),
        ("unreachable", True),
        ("timeout", True),
        ("broken", True),
        ("refused", False),
        ("capability", False),
        ("too-large", False),
        ("credential", False),
    ],
)
def test_only_what_may_pass_is_tried_again(kind: Kind, again: bool) -> None:  # noqa: FBT001 - a table's column
    wait = Patience(chance=lambda: 1.0).wait_seconds(1, error(kind))

    assert wait == (0.5 if again else None)


def test_waits_double_to_a_bound_and_are_spread() -> None:
    for chance, expected in ((1.0, [0.5, 1, 2, 4, 8, 16, 30, 30]), (0.0, [0.25, 0.5, 1, 2, 4, 8, 15, 15])):
        patience = Patience(attempts=9, chance=lambda chance=chance: chance)  # type: ignore[misc]  # binds this turn's value
        assert [patience.wait_seconds(n, error()) for n in range(1, 9)] == expected

    assert Patience(attempts=9).wait_seconds(9, error()) is None


def test_what_the_server_asks_for_is_kept_unless_it_is_too_long() -> None:
    patience = Patience(chance=lambda: 1.0)

    assert patience.wait_seconds(1, error(asked=7.0)) == 7.5
    assert patience.wait_seconds(1, error(asked=120.0)) == 120.5
    assert patience.wait_seconds(1, error(asked=121.0)) is None


async def test_every_wait_is_told_and_the_last_error_says_how_often_it_was_tried() -> None:
    told: list[str] = []
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def work() -> None:
        raise error()

    patience = Patience(attempts=3, sleep=sleep, chance=lambda: 1.0, notice=told.append)
    with pytest.raises(ModelServerError) as caught:
        await with_retries(work, patience)

    assert waited == [0.5, 1.0]
    assert told == ["no; trying again in 0.5 s (1 of 3)", "no; trying again in 1.0 s (2 of 3)"]
    assert (caught.value.message, caught.value.hint) == ("no (tried 3 times)", "h")


def _cancel(running: asyncio.Task[str]) -> None:
    running.cancel()


async def test_nobody_is_asked_again_once_the_question_is_cancelled() -> None:
    """A connection that fails while it is closed for that is no server's failure; the twin is asked again."""
    asked: list[asyncio.Event] = []

    async def work() -> str:
        asked.append(asyncio.Event())
        if len(asked) > 1:
            return "a reply"
        try:
            await asked[0].wait()
        except asyncio.CancelledError as cancelled:
            raise error("unreachable") from cancelled
        raise error("unreachable")

    async def ended(end: Callable[[asyncio.Task[str]], None]) -> tuple[bool, int]:
        asked.clear()
        told.clear()
        running = asyncio.create_task(with_retries(work, Patience(chance=lambda: 0.0, notice=told.append)))
        await asyncio.sleep(0)
        end(running)
        await asyncio.wait({running}, timeout=30)
        return running.cancelled(), len(asked)

    told: list[str] = []
    assert (await ended(_cancel), told) == ((True, 1), [])
    assert (await ended(lambda _: asked[0].set()), len(told)) == ((False, 2), 1)


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "Sun, 99 Mar 99999 12:00:30 GMT"}, None),
        ({"retry-after": f"Sun, 01 Mar 2099 12:00:30 +{'9' * 30}"}, None),
        ({"retry-after": f"Sun, 01 Mar 2099 12:00:{'9' * 30} GMT"}, None),
    ],
    ids=range(14),
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, now=NOW) == expected
