"""A caller that records alone writes at once; others keep their turns, their places and their batches."""

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from audit import batch, begin
from audit import journal as recording
from audit import writer as writing
from audit.chain import Entry
from audit.reader import SessionReader
from audit.sealed import Sealing
from tests.audit.samples import SESSION, Recorder, Samples

TASKS = 16
EACH = 10


@pytest.fixture
def thread_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the thread nothing to do on a slow machine either: no slow write, nothing that is due."""
    monkeypatch.setattr(batch, "LAZY_SECONDS", 600.0)
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)
    monkeypatch.setattr(begin, "Sealing", partial(Sealing, seconds=600.0))


@asynccontextmanager
async def turns_beside() -> AsyncIterator[list[int]]:
    """Count the turns that the loop has for somebody else while the block lasts."""
    taken = [0]

    async def another() -> None:
        while True:
            taken[0] += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(another())
    try:
        yield taken
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)


@pytest.mark.usefixtures("thread_at_rest")
@pytest.mark.parametrize(("alone_seconds", "every"), [(0.0, True), (math.inf, False)])
async def test_who_records_alone_leaves_the_loop_its_turns(
    recorder: Recorder,
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
    alone_seconds: float,
    *,
    every: bool,
) -> None:
    """One for each entry once the time of recording alone is up; before, only where the thread is at it."""
    monkeypatch.setattr(recording, "_ALONE_SECONDS", alone_seconds)

    async with recorder.journal() as journal:
        await journal.record(samples.intended(0))  # from here on it is known that nobody else records
        async with turns_beside() as taken:
            for number in range(EACH):
                await journal.record(samples.intended(number + 1))
            found = taken[0]

    assert (found >= EACH) == every


@pytest.mark.usefixtures("thread_at_rest")
@pytest.mark.parametrize(("waits", "most"), [(True, EACH + 2), (False, math.inf)])
async def test_a_turn_that_the_loop_has_between_two_entries_is_not_waited_for_again(
    recorder: Recorder, samples: Samples, monkeypatch: pytest.MonkeyPatch, most: float, *, waits: bool
) -> None:
    """As between an action's intent and its outcome; the twin: who waits for nothing else waits for one."""
    monkeypatch.setattr(recording, "_ALONE_SECONDS", 0.0)

    async with recorder.journal() as journal:
        await journal.record(samples.intended(0))
        async with turns_beside() as taken:
            for number in range(EACH):
                if waits:
                    await asyncio.sleep(0)
                await journal.record(samples.intended(number + 1))
            found = taken[0]

    assert EACH <= found <= most


async def test_what_was_put_in_before_stays_before_what_is_written_at_once(
    recorder: Recorder, samples: Samples, state: Path
) -> None:
    async with recorder.journal() as journal:
        for number in range(0, 60, 2):
            await journal.record_lazily(samples.intended(number))
            await journal.record(samples.intended(number + 1))

    actions = [entry.body["action"] for entry in read_intended(state)]
    assert actions == [f"{SESSION}/{number}" for number in range(60)]


def read_intended(state: Path) -> list[Entry]:
    """Return the actions' entries, held against the chain."""
    entries = SessionReader(state, SESSION).entries()
    return [entry for entry in entries if isinstance(entry, Entry) and entry.type == "action.intended"]


async def test_callers_beside_each_other_share_their_syncs(
    recorder: Recorder, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: alone, each entry is a sync; together, one sync is for all that wait."""
    syncs, sync = [0], os.fdatasync

    def counted(descriptor: int) -> None:
        syncs[0] += 1
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    async with recorder.journal() as journal:

        async def task() -> None:
            for number in range(EACH):
                await journal.record(samples.intended(number))

        before = syncs[0]
        for number in range(EACH):
            await journal.record(samples.intended(number))
        alone, before = syncs[0] - before, syncs[0]
        await asyncio.gather(*(task() for _ in range(TASKS)))
        together = syncs[0] - before

    assert alone >= EACH
    assert together <= TASKS * EACH // 2
