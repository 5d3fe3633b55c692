"""A reader beside a writer sees a whole log, and never a fault that is not there."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from audit.chain import Entry
from audit.follow import Follower
from audit.host import HostLog
from audit.host_event import PolicyTrusted
from audit.index import read_index
from audit.journal import Journal
from audit.proof import check, prove
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry, SessionReader
from audit.state import StateFiles
from audit.verdict import Intact
from audit.verify import verify_all, verify_session
from audit.withhold import prune
from tests.audit import attacker
from tests.audit.large_logs import LargeLog
from tests.audit.samples import SESSION, Recorder, Samples


class Appending:
    """Appends to the host's log from a thread, as another session would, until it is left."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.appended = 0

    def _run(self) -> None:
        with HostLog(self._state) as host:
            while not self._stop.is_set():
                host.append(PolicyTrusted(origin="p", digest="0" * 64, by="a test"))
                self.appended += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()


async def test_an_index_read_while_others_append_is_never_broken(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=10)
    files = StateFiles(state)

    with Appending(state) as appending:
        read, proofs = [], []
        while appending.appended < 60:
            read.append(read_index(files))
            proofs.append(prove(state, SESSION, 5))

    assert [index.broken for index in read if index.broken] == []
    for proof in proofs:
        check(proof, read[-1].keys[-1])


async def test_a_live_session_verifies_at_any_moment(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        for number in range(200):
            await journal.record(samples.intended(number))
            if number % 10 == 0:
                assert verify_session(state, SESSION).faults() == {}


async def test_a_follower_sees_each_entry_once_it_is_durable_and_through_a_recovery(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal(segment_bytes=10_000) as journal:
        follower = Follower(state, SESSION)
        seen = follower.poll()
        assert [entry.type for entry in seen if isinstance(entry, Entry)] == ["log.opened"]
        for number in range(100):
            await journal.record(samples.intended(number))
            seen += follower.poll()
            assert f"{SESSION}/{number}" in [
                entry.body.get("action") for entry in seen if isinstance(entry, Entry)
            ]
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(samples.intended(100))
        await journal.close(samples.closed())
    seen += follower.poll()

    assert [entry.seq for entry in seen] == list(range(len(seen)))
    assert not any(isinstance(entry, BrokenEntry) for entry in seen)
    assert isinstance(seen[-2], Entry)
    assert (seen[-2].type, follower.poll()) == ("session.closed", [])


async def test_a_follower_does_not_show_half_a_line(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=2, close=False)
    follower = Follower(state, SESSION)
    before = follower.poll()
    path = state / "sessions" / SESSION / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"seq":%d,"prev":"' % len(before))

    assert follower.poll() == []


@pytest.mark.parametrize("run_bytes", [70_000, 1_100_000, 2_500_000])
@pytest.mark.parametrize("seen_before", [False, True])
async def test_a_follower_tells_of_a_line_without_an_end(
    recorder: Recorder, state: Path, run_bytes: int, *, seen_before: bool
) -> None:
    """What no writer writes is no line that is still being written: the end may not look like a quiet one."""
    path = await recorder.whole(actions=2, close=False)
    follower = Follower(state, SESSION)
    before = follower.poll() if seen_before else []
    with path.open("ab") as file:
        file.write(b"x" * run_bytes)

    found = [*before, *follower.poll()]

    assert found[-1] == BrokenEntry(len(found) - 1, "`events.jsonl` holds a line without an end", b"")
    assert all(isinstance(entry, Entry) for entry in found[:-1])
    assert follower.poll() == []


async def test_a_follower_waits_for_the_rest_of_a_long_line(recorder: Recorder, state: Path) -> None:
    """The twin: what may still become a line is waited for, and then shown."""
    path = await recorder.whole(actions=2, close=False)
    whole = path.read_bytes()
    first, last = whole[:-40], whole[-40:]
    path.write_bytes(first)
    follower = Follower(state, SESSION)
    begun = follower.poll()
    path.write_bytes(first + last)

    found = [*begun, *follower.poll()]

    assert found == list(SessionReader(state, SESSION).entries())
    assert len(begun) == len(found) - 1


async def test_a_follower_of_an_ended_session_tells_that_its_tail_was_cut_off(
    recorder: Recorder, state: Path
) -> None:
    await recorder.whole(actions=100)
    size = len(list(Follower(state, SESSION).at_the_end()))
    attacker.change_session(state, attacker.cut_at_a_seal, recomputed=False)
    follower = Follower(state, SESSION)

    *good, last = follower.at_the_end()

    why = f"the log ends here, the host's log knows {size} entries"
    assert last == BrokenEntry(len(good), why, b"")
    assert all(isinstance(entry, Entry) for entry in good)
    assert list(follower.at_the_end()) == follower.poll() == []


async def test_asking_for_the_end_while_somebody_writes_raises_no_alarm(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """The twin: a session may be taken up again at the moment at which it seemed to have ended."""
    async with recorder.journal(segment_bytes=5_000) as journal:
        follower = Follower(state, SESSION)
        seen = list(follower.at_the_end())
        for number in range(70):
            await journal.record(samples.intended(number))
            seen += follower.at_the_end()

    seen += follower.at_the_end()
    assert [entry for entry in seen if isinstance(entry, BrokenEntry)] == []
    assert seen == list(SessionReader(state, SESSION).entries())


@pytest.mark.parametrize("seen_before", [False, True])
async def test_a_follower_tells_of_a_torn_line_before_another_file(
    recorder: Recorder, state: Path, samples: Samples, *, seen_before: bool
) -> None:
    """Only a log's last file may end in the middle of a line; the twin is a line that is being written."""
    async with recorder.journal(segment_bytes=5_000) as journal:
        for number in range(50):
            await journal.record(samples.intended(number))
    first, second = (state / "sessions" / SESSION / name for name in ("events.jsonl", "events.jsonl.1"))
    aside = second.rename(state / "aside")
    follower = Follower(state, SESSION)
    before = follower.poll() if seen_before else []
    with first.open("ab") as file:
        file.write(b'{"seq":')
    assert not any(isinstance(entry, BrokenEntry) for entry in Follower(state, SESSION).poll())
    aside.rename(second)

    *good, last = [*before, *follower.poll()]

    assert last == BrokenEntry(len(good), "`events.jsonl` ends in the middle of a line", b"")
    assert len(good) == first.read_bytes().count(b"\n")
    assert follower.poll() == []


class Overtaken(Follower):
    """A follower that finds nothing new, while a writer fills the file and begins another."""

    writer: Callable[[], None] | None = None

    def _new_lines(self) -> list[bytes]:
        lines = super()._new_lines()
        if not lines and self.writer is not None:
            self.writer()
            self.writer = None
        return lines


async def test_a_follower_takes_what_came_before_the_next_file_was_begun(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal(segment_bytes=5_000) as journal:
        for number in range(100):
            await journal.record(samples.intended(number))
    first, *later = sorted((state / "sessions" / SESSION).glob("events.jsonl*"))
    contents = {path: path.read_bytes() for path in (first, *later)}
    first.write_bytes(contents[first][: contents[first].index(b"\n") + 1])
    for path in later:
        path.unlink()
    follower = Overtaken(state, SESSION)

    def write_on() -> None:
        for path, raw in contents.items():
            path.write_bytes(raw)

    follower.writer = write_on

    found = [*follower.poll(), *follower.poll()]

    assert found == list(SessionReader(state, SESSION).entries())
    assert not any(isinstance(entry, BrokenEntry) for entry in found)


async def test_a_follower_stops_at_what_does_not_hold(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, attacker.edit, recomputed=True)
    follower = Follower(state, SESSION)

    *_, last = follower.poll()

    assert isinstance(last, BrokenEntry)
    assert follower.poll() == []


async def test_a_query_sees_a_session_whole_that_is_taken_up_again_meanwhile(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """What was read of the host's log before does not name the new key, nor that the end is no end."""
    await recorder.whole(actions=20)
    before = read_index(StateFiles(state))
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(samples.intended(100))
        await journal.close(samples.closed())

    asked = list(query_session(state, SESSION, parse_filter("type!=log.sealed"), index=before))

    whole = [
        entry.seq
        for entry in SessionReader(state, SESSION).entries()
        if isinstance(entry, Entry) and entry.type != "log.sealed"
    ]
    assert [entry.seq for entry in asked if isinstance(entry, Entry)] == whole
    assert len(asked) == len(whole)


async def test_a_query_stops_at_what_does_not_hold_however_the_hosts_log_grows(
    recorder: Recorder, state: Path
) -> None:
    await recorder.whole(actions=100)
    before = read_index(StateFiles(state))
    attacker.change_session(state, attacker.edit, recomputed=True)
    with HostLog(state) as host:
        host.append(PolicyTrusted(origin="p", digest="0" * 64, by="a test"))

    asked = list(query_session(state, SESSION, parse_filter(""), index=before))

    seqs = [entry.seq for entry in asked if isinstance(entry, Entry)]
    assert seqs == list(range(len(seqs)))
    assert [entry.why for entry in asked if isinstance(entry, BrokenEntry)] == [
        "between entry 0 and entry 64: the seal signs another log"
    ]
    assert isinstance(asked[-1], BrokenEntry)


async def test_a_reader_sees_a_session_whole_that_is_taken_up_again_meanwhile(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """Bodies that are kept elsewhere included: they have grown too."""
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1, text="x" * 40_000))
        await journal.close(samples.closed())
    entries = SessionReader(state, SESSION).events()
    begun = [next(entries) for _ in range(3)]
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(samples.intended(100, text="y" * 40_000))
        await journal.close(samples.closed())

    found = [*begun, *entries]

    assert found == list(SessionReader(state, SESSION).events())
    assert [entry.seq for entry, _ in found] == list(range(len(found)))
    assert [event for _, event in found].count(samples.closed()) == 2
    assert samples.intended(100, text="y" * 40_000) in [event for _, event in found]


async def test_a_reader_shows_what_does_not_hold_however_the_hosts_log_grows(
    recorder: Recorder, state: Path
) -> None:
    log = await recorder.whole(actions=5)
    reader = SessionReader(state, SESSION)
    log.write_bytes(log.read_bytes().replace(b"src/app.py", b"src/lie.py", 1))
    await recorder.whole("zzzzzzzzzzzz", actions=1)

    *good, last = reader.entries()

    assert isinstance(last, BrokenEntry)
    assert all(isinstance(entry, Entry) for entry in good)


@pytest.mark.parametrize("read_before", [0, 2])
def test_a_reader_of_a_session_that_is_pruned_meanwhile_leaves_nothing_out_unsaid(
    state: Path, read_before: int
) -> None:
    """Who has read nothing yet reads what is left; who has read some is told that the next is gone."""
    LargeLog(state, SESSION, segment_bytes=20_000).write(Samples().intended(number) for number in range(400))
    entries = SessionReader(state, SESSION).entries()
    begun = [next(entries) for _ in range(read_before)]
    with HostLog(state) as host:
        prune(host, SESSION, why="a test", keep_segments=1)

    found = [*begun, *entries]

    left = list(SessionReader(state, SESSION).entries())
    assert isinstance(left[0], Entry)
    if read_before == 0:
        assert found == left
    else:
        assert isinstance(found[-1], BrokenEntry)
        assert [entry.seq for entry in found] == list(range(len(found)))


@pytest.mark.parametrize("is_edited", [False, True])
async def test_verifying_looks_twice_where_a_session_was_taken_up_again_meanwhile(
    recorder: Recorder, state: Path, samples: Samples, *, is_edited: bool
) -> None:
    """What was read of the host's log before does not know the new key; what was forged is still found."""
    await recorder.whole(actions=20)
    found = verify_all(state)
    assert next(found).integrity == Intact(read_index(StateFiles(state)).size, 0)
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(samples.intended(100))
        await journal.close(samples.closed())
    if is_edited:
        attacker.change_session(state, attacker.edit, recomputed=True)

    assert [bool(one.faults()) for one in found] == [is_edited]
