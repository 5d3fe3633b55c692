"""Who writes a session's log and when: the caller in its turn, or the thread; and what a failure leaves."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audit import writer as writing
from audit.batch import LAZY_SECONDS, Batch, Urgency, Waiting
from audit.chain import Chain
from audit.encode import Encoder
from audit.errors import LedgerError
from audit.host import HostLog, Receipt
from audit.keys import session_key
from audit.recover import session_origin
from audit.runqueue import RunQueue
from audit.sealed import End, SealedFile, Sealing
from audit.state import make_private_folder
from audit.writer import Writer
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock

SEAL_SECONDS = 0.2
PATIENCE_SECONDS = 30.0


@dataclass
class Heard:
    """What a writer said."""

    failures: list[LedgerError] = field(default_factory=list)

    def answered(self, lines: list[Waiting]) -> None:
        """Take answers; nobody waits for them here."""

    def failed(self, error: LedgerError) -> None:
        """Take that the log can no longer be written."""
        self.failures.append(error)


@dataclass
class Desk:
    """A writer with its log."""

    writer: Writer
    heard: Heard
    path: Path
    encoder: Encoder
    stopped: bool = False

    def stop(self) -> None:
        """Stop the writer, once."""
        if not self.stopped:
            self.stopped = True
            self.writer.stop()

    def line(self, number: int) -> Waiting:
        """Return an action's line."""
        rest, _ = self.encoder.encode(Samples().intended(number))
        return Waiting(rest=rest, openings=[], urgency=Urgency.SYNC)

    def seals(self) -> int:
        """Return how many seals the log holds."""
        return self.path.read_bytes().count(b'"type":"log.sealed"')

    def seqs(self) -> list[int]:
        """Return the places of the log's lines, as they say themselves."""
        starts = (line.split(b",")[0] for line in self.path.read_bytes().splitlines())
        return [int(start.removeprefix(b'{"seq":')) for start in starts]


@pytest.fixture
def desk(state: Path) -> Iterator[Desk]:
    host = HostLog(state, clock=TurnableClock())
    files = host.files.session(SESSION)
    make_private_folder(files.folder)
    encoder, heard, origin = Encoder(TurnableClock()), Heard(), session_origin(SESSION)
    sealing = Sealing(
        session=SESSION, origin=origin, key=session_key(SESSION, 1), epoch=1, seconds=SEAL_SECONDS
    )
    writer = Writer(End(files, Chain.start(origin), 0), sealing, encoder, host, heard)
    made = Desk(writer, heard, files.events, encoder)
    writer.file.write([made.line(0)])
    writer.start()
    yield made
    made.stop()
    host.close()


def seen(what: Callable[[], bool]) -> bool:
    """Tell whether something comes to be, in time."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_what_a_caller_wrote_itself_after_a_seal_is_sealed_in_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seconds to the next seal count for entries that never went through the thread as well."""
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)
    assert seen(lambda: desk.seals() == 1)

    time.sleep(SEAL_SECONDS)  # the thread has nothing left to wait for
    line = desk.line(1)
    desk.writer.put(line)

    assert desk.writer.write_now()
    assert isinstance(line.answer, Receipt)
    assert seen(lambda: desk.seals() == 2)
    assert desk.seqs() == [0, 1, 2, 3]


def test_after_one_slow_write_the_thread_writes_for_a_while(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One quick write of the thread does not make the disk quick again."""
    monkeypatch.setattr(writing, "QUICK_SECONDS", 0.0)  # every write is slow now
    monkeypatch.setattr(writing, "WARY_TIMES", 1e6)
    desk.writer.put(desk.line(1))
    desk.writer.write_now()
    assert seen(lambda: 1 in desk.seqs())
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)

    later = [desk.line(2), desk.line(3)]
    for line in later:
        desk.writer.put(line)
        assert not desk.writer.write_now()
    assert seen(lambda: all(isinstance(line.answer, Receipt) for line in later))


@pytest.mark.parametrize("busy", [False, True])
def test_the_thread_is_woken_only_for_lines_that_were_put_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, busy: bool
) -> None:
    assert seen(lambda: desk.seals() == 1)
    woken, wake = [0], Batch.wake
    monkeypatch.setattr(Batch, "wake", lambda batch: (woken.append(1), wake(batch)))
    monkeypatch.setattr(desk.writer, "_in_turn_from", 0.0 if busy else math.inf)
    line = desk.line(1)

    with desk.writer._turn if busy else nullcontext():
        assert not desk.writer.write_now(line)
        assert woken == [0]
        desk.writer.put(line)
        assert not desk.writer.write_now()
        assert woken == [0, 1]

    assert seen(lambda: isinstance(line.answer, Receipt))


def test_a_disk_that_was_slow_once_is_trusted_again_in_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WARY_SECONDS", 0.1)
    monkeypatch.setattr(writing, "QUICK_SECONDS", 0.0)
    desk.writer.put(desk.line(1))
    desk.writer.write_now()
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)
    assert seen(lambda: desk.seals() == 1)

    time.sleep(0.2)
    desk.writer.put(desk.line(2))

    assert seen(desk.writer.write_now)


@pytest.mark.parametrize(("queued_seconds", "in_turn"), [(0.0, False), (90.0, False), (99.0, True)])
def test_time_spent_waiting_for_a_processor_makes_no_disk_slow(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, queued_seconds: float, *, in_turn: bool
) -> None:
    """What is left of a long write when the waiting for a processor is taken off it is the disk's."""
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)
    assert seen(lambda: desk.seals() == 1)
    with desk.writer._turn:  # the seal is in the file a little before the thread lets go
        monkeypatch.setattr(writing, "QUICK_SECONDS", 5.0)
    monkeypatch.setattr(writing, "WARY_TIMES", 1e6)
    monkeypatch.setattr(RunQueue, "seconds_since", lambda *_: queued_seconds)
    clock, sync = time.monotonic, os.fdatasync
    late = 0.0

    def slow(descriptor: int) -> None:
        nonlocal late
        sync(descriptor)
        late += 100.0

    monkeypatch.setattr(os, "fdatasync", slow)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + late)
    desk.writer.put(desk.line(1))
    assert seen(desk.writer.write_now)  # the thread may be at a seal
    monkeypatch.setattr(os, "fdatasync", sync)
    desk.writer.put(desk.line(2))

    assert seen(desk.writer.write_now) if in_turn else not desk.writer.write_now()


@pytest.mark.parametrize("programs", [False, True])
async def test_beside_programs_every_write_is_the_threads(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, *, programs: bool
) -> None:
    """Programs can fill the disk's queue at any moment: no sync of theirs may hold up the runner's loop."""
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)
    threads: set[bool] = set()
    flush = SealedFile.write

    def noted(self: SealedFile, lines: list[Waiting], *, closing: bool = False) -> list[Receipt]:
        threads.add(threading.current_thread() is threading.main_thread())
        return flush(self, lines, closing=closing)

    async with recorder.journal(programs=programs) as journal:
        monkeypatch.setattr(SealedFile, "write", noted)
        for number in range(5):
            await journal.record(Samples().intended(number))

    assert threads == {not programs}


@pytest.mark.parametrize("broken_off", [KeyboardInterrupt, MemoryError])
def test_a_write_that_is_broken_off_is_the_logs_last(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, broken_off: type[BaseException]
) -> None:
    """What nobody knows to be written or not is followed by nothing: no place is given out twice."""
    monkeypatch.setattr(writing, "QUICK_SECONDS", 600.0)
    assert seen(lambda: desk.seals() == 1)
    with desk.writer._turn:  # the seal is in the file a little before the thread lets go
        pass
    lines = [desk.line(1), desk.line(2)]
    lines[1].urgency = Urgency.CLOSING
    sync = os.fdatasync

    def interrupted(descriptor: int) -> None:
        sync(descriptor)
        if threading.current_thread() is threading.main_thread():
            raise broken_off

    for line in lines:
        desk.writer.put(line)
    monkeypatch.setattr(os, "fdatasync", interrupted)
    with pytest.raises(broken_off):
        desk.writer.write_now()
    monkeypatch.setattr(os, "fdatasync", sync)
    desk.stop()

    assert [str(line.answer) for line in lines] == [f"a write was broken off by {broken_off.__name__}"] * 2
    assert desk.heard.failures == [desk.writer.error]
    assert desk.seqs() == [0, 1, 2]


def test_lines_that_their_caller_writes_do_not_wake_the_thread_one_by_one() -> None:
    """It looks in time for what may follow, not at each line; the twin: one that nobody takes is due soon."""
    batch, began = Batch(), time.monotonic()
    looks: list[float] = []

    def looked() -> None:
        looks.append(time.monotonic())

    def waited() -> None:
        while not batch.wait(looked):
            pass

    thread = threading.Thread(target=waited)
    thread.start()
    try:
        for _ in range(60):
            batch.put(Waiting(rest=b"x", openings=[], urgency=Urgency.LAZY), wake=True)
            batch.take()
            time.sleep(0.002)  # the thread goes where it wants
        most = 5 + (time.monotonic() - began) / LAZY_SECONDS
    finally:
        batch.stop()
        thread.join()

    assert 1 <= len(looks) <= 2 * most


def test_a_line_that_nobody_takes_is_due_soon_after_others_were_taken() -> None:
    """Also where the thread went to sleep over lines that were taken already."""
    batch = Batch()
    batch.put(Waiting(rest=b"x", openings=[], urgency=Urgency.LAZY), wake=True)
    batch.take()
    thread = threading.Thread(target=batch.wait, args=(lambda: None,))
    thread.start()

    time.sleep(LAZY_SECONDS / 2)
    batch.put(Waiting(rest=b"y", openings=[], urgency=Urgency.LAZY), wake=True)
    due: list[Waiting] = []
    until = time.monotonic() + PATIENCE_SECONDS
    while not due and time.monotonic() < until:
        thread.join(PATIENCE_SECONDS)
        if not (due := batch.take(lazy_too=False)):
            thread = threading.Thread(target=batch.wait, args=(lambda: None,))
            thread.start()

    assert [line.rest for line in due] == [b"y"]
