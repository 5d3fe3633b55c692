"""What is appended behind a session's sealed end is nobody's: every verifier and every reader says so."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import standalone
from audit.chain import Chain, Entry
from audit.encode import Encoder
from audit.errors import BrokenLedgerError, LedgerDeadError
from audit.follow import Follower
from audit.index import read_index
from audit.journal import Journal
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry, SessionReader
from audit.recover import session_origin
from audit.state import StateFiles
from audit.verdict import Broken, Crashed
from audit.verify import verify_session
from tests.audit import attacker, third_party
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock

WHY = "it stands behind the session's sealed end"


async def never_reopened(recorder: Recorder) -> None:
    await recorder.whole(actions=5)


async def reopened_and_closed_again(recorder: Recorder) -> None:
    await recorder.whole(actions=5)
    samples = Samples()
    async with Journal.reopen(recorder.state, SESSION) as journal:
        await journal.record(samples.intended(10))
        await journal.close(samples.closed())


@pytest.fixture(params=[never_reopened, reopened_and_closed_again])
async def closed(recorder: Recorder, state: Path, request: pytest.FixtureRequest) -> Path:
    """Return the state of a session that has ended."""
    await request.param(recorder)
    return state


def append_an_entry(state: Path) -> int:
    """Write an entry that fits at the end of the session's file, and return its place."""
    path = state / "sessions" / SESSION / "events.jsonl"
    chain = Chain.start(session_origin(SESSION))
    lines = attacker.read_lines(path)
    for line in lines:
        chain.take(line)
    rest, _ = Encoder(TurnableClock()).encode(Samples().intended(99))
    attacker.write_lines(path, [*lines, chain.add(rest)])
    return len(lines)


def key_of(state: Path) -> str:
    return StateFiles(state).host_vkey.read_text()


def ours_finds(state: Path) -> bool:
    return verify_session(state, SESSION, pinned_vkey=key_of(state)).faults() != {}


def standalone_finds(state: Path) -> bool:
    host = standalone.Host(state)
    host.read()
    known = host.session(SESSION)
    try:
        standalone.check_session(standalone.files_of(state / "sessions" / SESSION, known), SESSION, known)
    except standalone.BadLogError:
        return True
    return False


def third_party_finds(state: Path) -> bool:
    return third_party.faults(state, key_of(state)) != []


def read(state: Path) -> list[Entry | BrokenEntry]:
    return list(SessionReader(state, SESSION).entries())


def followed(state: Path) -> list[Entry | BrokenEntry]:
    return Follower(state, SESSION).poll()


def queried(state: Path) -> list[Entry | BrokenEntry]:
    return list(query_session(state, SESSION, parse_filter("")))


@pytest.mark.parametrize("finds", [ours_finds, standalone_finds, third_party_finds])
def test_an_entry_behind_the_end_is_found_by_every_verifier(
    closed: Path, finds: Callable[[Path], bool]
) -> None:
    assert not finds(closed)

    append_an_entry(closed)

    assert finds(closed)


@pytest.mark.parametrize("reading", [read, followed, queried])
def test_an_entry_behind_the_end_is_handed_out_as_broken(
    closed: Path, reading: Callable[[Path], list[Entry | BrokenEntry]]
) -> None:
    assert not any(isinstance(entry, BrokenEntry) for entry in reading(closed))

    place = append_an_entry(closed)

    *good, last = reading(closed)
    assert isinstance(last, BrokenEntry)
    assert (last.seq, last.why) == (place, f"entry {place}: {WHY}")
    assert not any(isinstance(entry, BrokenEntry) for entry in good)


@pytest.mark.parametrize("reading", [read, followed, queried])
def test_a_torn_line_behind_the_end_is_handed_out_as_broken(
    closed: Path, reading: Callable[[Path], list[Entry | BrokenEntry]]
) -> None:
    path = closed / "sessions" / SESSION / "events.jsonl"
    place = len(attacker.read_lines(path))

    with path.open("ab") as file:
        file.write(b"{")

    *good, last = reading(closed)
    assert isinstance(last, BrokenEntry)
    assert (last.seq, last.why) == (place, f"entry {place}: {WHY}")
    assert [entry.seq for entry in good if isinstance(entry, Entry)] == list(range(place))


async def test_a_torn_line_behind_no_end_is_shown_by_no_reader(recorder: Recorder, state: Path) -> None:
    """The twin: a crash left it, and what is behind an end that goes on is a line that is being written."""
    path = await recorder.whole(actions=5)
    before = read_index(StateFiles(state))
    async with Journal.reopen(state, SESSION) as journal:
        follower = Follower(state, SESSION)
        follower.poll()
        await journal.record(Samples().intended(10))
    with path.open("ab") as file:
        file.write(b"{")

    shown = [read(state), followed(state), queried(state), follower.poll()]
    shown.append(list(query_session(state, SESSION, parse_filter(""), index=before)))

    assert [entry for entries in shown for entry in entries if isinstance(entry, BrokenEntry)] == []


async def test_who_followed_a_session_to_its_end_is_shown_that_a_torn_line_stands_behind(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        follower = Follower(state, SESSION)
        await journal.close(samples.closed())
    place = len(follower.poll())

    with (state / "sessions" / SESSION / "events.jsonl").open("ab") as file:
        file.write(b"{")

    assert follower.poll() == [BrokenEntry(place, f"entry {place}: {WHY}", b"")]
    assert follower.poll() == []


async def test_a_session_with_an_entry_behind_its_end_is_not_taken_up_again(closed: Path) -> None:
    shutil.copytree(closed, closed.with_name("as it was"))
    place = append_an_entry(closed)

    with pytest.raises(BrokenLedgerError, match=WHY) as refusal:
        async with Journal.reopen(closed, SESSION):
            pass

    assert refusal.value.seq == place
    assert verify_session(closed, SESSION).integrity == Broken(place, place, WHY, place)
    async with Journal.reopen(closed.with_name("as it was"), SESSION) as journal:
        await journal.record(Samples().intended(11))
    assert verify_session(closed.with_name("as it was"), SESSION).faults() == {}


@pytest.mark.parametrize("finds", [ours_finds, standalone_finds, third_party_finds])
async def test_a_second_beginning_with_the_next_epochs_key_is_found(
    recorder: Recorder, state: Path, finds: Callable[[Path], bool]
) -> None:
    """A log goes on with `session.recovered`; `log.opened` is its first line and no other."""
    await recorder.whole(actions=2, close=False)
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(Samples().intended(3))
    path = state / "sessions" / SESSION / "events.jsonl"
    lines = attacker.read_lines(path)
    again = [line.replace(b'"session.recovered"', b'"log.opened"') for line in lines]
    last = next(place for place, line in enumerate(again) if line != lines[place])
    assert not finds(state)

    attacker.write_lines(path, again[: last + 1])

    assert finds(state)
    host = standalone.Host(state)
    host.read()
    reading = standalone.Session(SESSION, host.session(SESSION))
    for line in again[:last]:
        reading.take(line)
    with pytest.raises(standalone.BadLogError, match="a second beginning is out of place"):
        reading.take(again[last])


async def test_who_follows_a_session_to_its_end_is_shown_nothing_behind_it(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        follower = Follower(state, SESSION)
        await journal.record(samples.intended(1))
        assert not any(isinstance(entry, BrokenEntry) for entry in follower.poll())
        await journal.close(samples.closed())
    seen = follower.poll()
    place = append_an_entry(state)

    assert [entry.type for entry in seen if isinstance(entry, Entry)] == ["session.closed", "log.sealed"]
    (last,) = follower.poll()
    assert isinstance(last, BrokenEntry)
    assert last.why == f"entry {place}: {WHY}"


async def test_nothing_is_recorded_while_the_end_is_on_its_way(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        closing = asyncio.ensure_future(journal.close(samples.closed()))
        await asyncio.sleep(0)  # the end was put in, and is not written yet

        with pytest.raises(LedgerDeadError, match="has recorded its end"):
            await journal.record(samples.intended(1))

        await closing
        with pytest.raises(LedgerDeadError, match="has recorded its end"):
            await journal.close(samples.closed())
        with pytest.raises(LedgerDeadError, match="has recorded its end"):
            await journal.record(samples.intended(1))
    assert verify_session(state, SESSION).faults() == {}


@pytest.mark.parametrize("torn", [b"{", b'{"seq":16,"prev":"', b"\0"])
def test_not_even_a_torn_line_may_stand_behind_the_end(closed: Path, torn: bytes) -> None:
    """A writer that ended cannot have left it: whoever adds bytes there is no writer."""
    path = closed / "sessions" / SESSION / "events.jsonl"
    size = len(attacker.read_lines(path))
    assert (ours_finds(closed), standalone_finds(closed), third_party_finds(closed)) == (False, False, False)

    with path.open("ab") as file:
        file.write(torn)

    assert (ours_finds(closed), standalone_finds(closed), third_party_finds(closed)) == (True, True, True)
    found = verify_session(closed, SESSION).integrity
    assert isinstance(found, Broken)
    assert (found.first, found.why) == (size, WHY)


async def test_a_session_with_bytes_behind_its_end_is_not_taken_up_again(closed: Path) -> None:
    with (closed / "sessions" / SESSION / "events.jsonl").open("ab") as file:
        file.write(b"{")

    with pytest.raises(BrokenLedgerError, match=WHY):
        async with Journal.reopen(closed, SESSION):
            pass


async def test_a_torn_line_of_a_session_that_has_not_ended_is_a_crash(
    recorder: Recorder, state: Path
) -> None:
    path = await recorder.whole(actions=5, close=False)
    with path.open("ab") as file:
        file.write(b"{")

    assert (ours_finds(state), standalone_finds(state), third_party_finds(state)) == (False, False, False)
    assert verify_session(state, SESSION).completeness == Crashed(1)


@pytest.mark.parametrize("make", ["link", "pipe"])
def test_the_single_file_verifier_opens_only_files(tmp_path: Path, make: str) -> None:
    """What could hang it, or lead it elsewhere, is refused, not read."""
    path = tmp_path / "events.jsonl"
    if make == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "other").write_bytes(b"{}\n")
        path.symlink_to(tmp_path / "other")

    with pytest.raises(standalone.BadLogError):
        list(standalone.lines_of([path]))
