"""The process of a case: heard to its own end, and led to it by its stdin."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci import process
from agent_runner.ci.handing import Order, order_path
from agent_runner.ci.process import Ended, run_process
from agent_runner.cli.ci_shown import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAVING = """
import os, sys
if os.fork() == 0:
    open({fifo!r}).read()
    os._exit(0)
print('{{"session": "0123456789ab"}}', flush=True)
print("one word", "its last words", sep=chr(10), file=sys.stderr, flush=True)
os._exit(7)
"""
FLOODING = "import sys; print('x' * 3_000_000); print('y' * 3_000_000, 'end', sep=chr(10), file=sys.stderr)"
LED = 'import sys; print(\'{"session": "0123456789ab"}\', flush=True); sys.exit(len(sys.stdin.read()))'


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """Return an order, in a results folder as a run has made it."""
    (tmp_path / "results/.run").mkdir(parents=True)
    return Order(
        file="task.yaml", case="one", digest="", repeat=1, attempt=1, session="0123456789ab",
        state=str(tmp_path / "state"), results=str(tmp_path / "results"),
    )  # fmt: skip


@contextmanager
def held_up(path: Path) -> Iterator[None]:
    """Make a pipe with a name that holds up whoever reads it until the block ends."""
    os.mkfifo(path)
    try:
        yield
    finally:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


@pytest.fixture
def lock() -> Iterator[int]:
    """Return a descriptor that stands for the run's lock."""
    held = os.open(os.devnull, os.O_RDONLY)
    yield held
    os.close(held)


async def test_what_a_process_left_behind_holds_up_nobody(
    order: Order, lock: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that prints a key may leave a program (an agent of keys) that has this process's stderr."""
    monkeypatch.setattr(process, "_LATE_SECONDS", 0.5)

    monkeypatch.setattr(process, "_PROGRAM", LEAVING.format(fifo=str(tmp_path / "fifo")))

    with held_up(tmp_path / "fifo"):
        running = asyncio.ensure_future(run_process(order, Lines(), lock=lock))
        await asyncio.wait({running}, timeout=30)
        is_done = running.done()
    found = await running

    said = Ended(code=7, sessions=frozenset({"0123456789ab"}), last_words="its last words", interrupted=False)
    assert is_done
    assert found == said
    assert not order_path(tmp_path / "results", "one").exists()


async def test_a_process_that_says_very_much_is_heard_to_its_end(
    order: Order, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PROGRAM", FLOODING)

    async with asyncio.timeout(60):
        found = await run_process(order, Lines(), lock=lock)

    assert found == Ended(code=0, sessions=frozenset(), last_words="end", interrupted=False)


async def test_a_process_is_told_to_end_by_the_end_of_its_stdin(
    order: Order, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PROGRAM", LED)

    running = asyncio.ensure_future(run_process(order, Lines(), lock=lock))
    await asyncio.sleep(1)
    assert not running.done()
    running.cancel()
    async with asyncio.timeout(60):
        found = await running

    assert found == Ended(code=0, sessions=frozenset({"0123456789ab"}), last_words="", interrupted=True)
