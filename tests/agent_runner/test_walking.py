"""A workspace is walked while the engine is asked; when one of the two fails, the other does not go on."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.walking import FRESH_SECONDS, beside, still_fresh
from sandbox.errors import EngineMissingError
from sandbox.stage import scan
from sandbox.stage.errors import StageError
from sandbox.stage.matching import Globs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GENEROUS_SECONDS = 30.0


class Endless:
    """A walk that goes on until it is told to end."""

    def __init__(self) -> None:
        self.began, self.finished = threading.Event(), threading.Event()

    def __call__(self, ended: Callable[[], bool]) -> None:
        """Go on."""
        self.began.set()
        until = time.monotonic() + GENEROUS_SECONDS
        while not ended():
            assert time.monotonic() < until
            time.sleep(0.005)
        self.finished.set()

    async def under_way(self) -> None:
        """Return when it has begun."""
        await asyncio.to_thread(self.began.wait, GENEROUS_SECONDS)


class Asked:
    """An engine that says nothing until it is told to, or its question is taken back."""

    def __init__(self) -> None:
        self.taken_back = False

    async def __call__(self) -> None:
        """Wait."""
        try:
            await asyncio.sleep(GENEROUS_SECONDS)
        except asyncio.CancelledError:
            self.taken_back = True
            raise


@pytest.mark.parametrize(
    ("walk_seconds", "elapsed_seconds", "fresh"),
    [
        (0.0, FRESH_SECONDS, True),
        (0.0, FRESH_SECONDS + 0.001, False),
        (30.0, 30.0 + FRESH_SECONDS, True),
        (30.0, 30.001 + FRESH_SECONDS, False),
        (0.1, 0.1, True),
    ],
)
def test_a_walk_is_fresh_for_two_seconds_after_its_end(
    walk_seconds: float, elapsed_seconds: float, *, fresh: bool
) -> None:
    """What a user saves while an image is built is no conflict: the workspace is then walked again."""
    assert FRESH_SECONDS == 2.0
    assert still_fresh(walk_seconds, elapsed_seconds) is fresh


async def test_both_answers_come_back(tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    async def engine() -> str:
        return "ground"

    asked, walked = await beside(engine(), lambda ended: scan(tmp_path, Globs.parse([".env"]), ended=ended))

    assert asked == "ground"
    assert sorted(walked.start.paths()) == ["", "a"]


async def test_a_refusal_of_the_engines_ends_the_walk() -> None:
    walk = Endless()

    async def engine() -> None:
        await walk.under_way()
        raise EngineMissingError("no engine answers")

    with pytest.raises(EngineMissingError, match="no engine answers"):
        await beside(engine(), walk)

    assert await asyncio.to_thread(walk.finished.wait, GENEROUS_SECONDS)


async def test_an_interruption_ends_the_walk_and_takes_the_question_back() -> None:
    walk, engine = Endless(), Asked()
    opening = asyncio.ensure_future(beside(engine(), walk))
    await walk.under_way()

    opening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await asyncio.to_thread(walk.finished.wait, GENEROUS_SECONDS)
    assert engine.taken_back


async def test_a_workspace_that_cannot_be_listed_takes_the_question_back_at_once(tmp_path: Path) -> None:
    """An image may take minutes to build, for a session that cannot be."""
    engine = Asked()

    with pytest.raises(StageError, match="cannot be listed"):
        await beside(engine(), lambda ended: scan(tmp_path / "gone", Globs.parse([]), ended=ended))

    assert engine.taken_back


async def test_where_both_fail_the_engines_failure_is_told_and_none_is_left_unread(tmp_path: Path) -> None:
    """Asyncio prints what nobody read, with a traceback, on the person's terminal."""
    unread: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
    began, refused, failed = threading.Event(), threading.Event(), threading.Event()

    def walk(ended: Callable[[], bool]) -> object:
        began.set()
        refused.wait(GENEROUS_SECONDS)
        try:
            return scan(tmp_path / "gone", Globs.parse([]), ended=ended)
        finally:
            failed.set()

    async def engine() -> None:
        await asyncio.to_thread(began.wait, GENEROUS_SECONDS)
        refused.set()
        failed.wait(GENEROUS_SECONDS)  # in the loop's own thread, so that both have failed before it looks
        raise EngineMissingError("no engine answers")

    with pytest.raises(EngineMissingError):
        await beside(engine(), walk)

    gc.collect()
    await asyncio.sleep(0)
    assert unread == []
