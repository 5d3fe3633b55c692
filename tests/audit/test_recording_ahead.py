"""What is recorded ahead is durable with the next entry, or soon; it keeps its place, and fails with them."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from audit import batch
from audit import writer as writing
from audit.chain import Entry
from audit.errors import LedgerError
from audit.reader import SessionReader
from audit.verify import verify_session
from tests.audit.samples import SESSION, Recorder, Samples

PATIENCE_SECONDS = 30.0


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how often the process synced, as its only element."""
    count, sync = [0], os.fdatasync

    def counted(descriptor: int) -> None:
        count[0] += 1
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    return count


def actions(state: Path) -> list[str]:
    """Return the actions that are in the file, in order, held against the chain."""
    entries = SessionReader(state, SESSION).entries()
    return [
        str(entry.body["action"]).removeprefix(f"{SESSION}/")
        for entry in entries
        if isinstance(entry, Entry) and entry.type.startswith("action.")
    ]


def wait_for(number: int, state: Path) -> None:
    """Return when there are as many actions in the file."""
    until = time.monotonic() + PATIENCE_SECONDS
    while len(actions(state)) < number and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.parametrize("programs", [False, True], ids=["in the caller's turn", "in the thread"])
async def test_what_is_recorded_ahead_goes_with_the_next_entry_and_before_it(
    recorder: Recorder, samples: Samples, state: Path, syncs: list[int], *, programs: bool
) -> None:
    """One sync for both; the twin, recorded each by itself, takes one for each."""
    async with recorder.journal(programs=programs) as journal:
        await journal.record(samples.intended(0))
        before = syncs[0]
        for number in (1, 3, 5):
            journal.record_ahead(samples.intended(number))
            await journal.record(samples.intended(number + 1))
        together, before = syncs[0] - before, syncs[0]
        for number in (7, 8, 9, 10, 11, 12):
            await journal.record(samples.intended(number))
        apart, written = syncs[0] - before, actions(state)

    assert written == [str(number) for number in range(13)]
    assert together <= apart // 2 + 1
    assert verify_session(state, SESSION).faults() == {}


async def test_nothing_is_written_when_something_is_recorded_ahead_and_soon_it_is(
    recorder: Recorder, samples: Samples, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to record anything else for that; at first the thread is far from looking by itself."""
    monkeypatch.setattr(batch, "LAZY_SECONDS", 1.0)
    async with recorder.journal() as journal:
        for number in range(3):
            journal.record_ahead(samples.intended(number))
            at_once = actions(state)
            await asyncio.to_thread(wait_for, number + 1, state)

            assert at_once == [str(each) for each in range(number)]
            assert actions(state) == [str(each) for each in range(number + 1)]


@pytest.mark.parametrize("programs", [False, True], ids=["in the caller's turn", "in the thread"])
async def test_it_is_durable_once_the_journal_has_settled(
    recorder: Recorder, samples: Samples, state: Path, monkeypatch: pytest.MonkeyPatch, *, programs: bool
) -> None:
    """Without waiting for the time to pass; where nothing was recorded ahead there is nothing to do."""
    monkeypatch.setattr(batch, "LAZY_SECONDS", 600.0)
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)
    async with recorder.journal(programs=programs) as journal:
        await journal.settled()
        journal.record_ahead(samples.intended(0))
        journal.record_ahead(samples.intended(1))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await journal.settled()
        written = actions(state)
        await journal.settled()

    assert written == ["0", "1"]


async def test_what_could_not_be_written_is_told_when_the_journal_settles_and_ever_after(
    recorder: Recorder, samples: Samples, state: Path
) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.intended(0))
        (state / "sessions" / SESSION / "events.jsonl").unlink()
        journal.record_ahead(samples.intended(1))
        with pytest.raises(LedgerError, match="unlinked"):
            await journal.settled()
        with pytest.raises(LedgerError, match="unlinked"):
            journal.record_ahead(samples.intended(2))

        assert journal.failed.done()


async def test_an_entry_does_not_become_durable_without_what_was_recorded_ahead_of_it(
    recorder: Recorder, samples: Samples, state: Path
) -> None:
    """The log is gone before either: both fail, and whoever waits for the second is told."""
    async with recorder.journal() as journal:
        await journal.record(samples.intended(0))
        journal.record_ahead(samples.intended(1))
        (state / "sessions" / SESSION / "events.jsonl").unlink()
        with pytest.raises(LedgerError, match="unlinked"):
            await journal.record(samples.intended(2))
        with pytest.raises(LedgerError, match="unlinked"):
            await journal.settled()


async def test_the_end_of_a_session_takes_along_what_was_recorded_ahead(
    recorder: Recorder, samples: Samples, state: Path
) -> None:
    async with recorder.journal() as journal:
        journal.record_ahead(samples.intended(0))
        await journal.close(samples.closed())

    assert actions(state) == ["0"]
    assert verify_session(state, SESSION).faults() == {}


async def test_leaving_the_journal_writes_what_was_recorded_ahead(
    recorder: Recorder, samples: Samples, state: Path
) -> None:
    async with recorder.journal() as journal:
        journal.record_ahead(samples.intended(0))

    assert actions(state) == ["0"]
