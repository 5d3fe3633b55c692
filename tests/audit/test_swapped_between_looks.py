"""A file that is forged for one look and put back for the next has its forgery told, never passed over."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit import query as asking
from audit import reader as reading
from audit import search as searching
from audit.chain import Chain, Entry
from audit.encode import Encoder
from audit.errors import BrokenLedgerError
from audit.host import HostLog
from audit.host_event import PolicyTrusted
from audit.index import HostIndex, read_index
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry, SessionReader
from audit.recover import session_origin
from audit.search import Search, seen
from audit.segments import Lines
from audit.skim import Seen, Skim
from audit.state import StateFiles
from audit.withhold import prune
from tests.audit import attacker
from tests.audit.large_logs import LargeLog
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock

WHY = "it is another than was read a moment ago"


@dataclass(frozen=True)
class Swap:
    """A session's file, forged, and how it is put back when the host's log is read the second time."""

    state: Path
    true: Path
    first: HostIndex

    def read_index(self, files: StateFiles) -> HostIndex:
        """Put the true file back, let another entry come to the host's log, and read that."""
        shutil.copy(self.true, self.state / "sessions" / SESSION / "events.jsonl")
        with HostLog(self.state) as host:
            host.append(PolicyTrusted(origin="p", digest="0" * 64, by="a test"))
        return read_index(files)

    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[Entry | BrokenEntry]:
        """Return what a reader hands out."""
        session = SessionReader(self.state, SESSION, index=self.first)
        monkeypatch.setattr(reading, "read_index", self.read_index)
        return list(session.entries())

    def queried(self, monkeypatch: pytest.MonkeyPatch) -> list[Entry | BrokenEntry]:
        """Return what a query for everything hands out."""
        monkeypatch.setattr(asking, "read_index", self.read_index)
        return list(query_session(self.state, SESSION, parse_filter(""), index=self.first))

    def queried_for_the_lie(self, monkeypatch: pytest.MonkeyPatch) -> list[Entry | BrokenEntry]:
        """Return what a query hands out for what no true line holds."""
        monkeypatch.setattr(asking, "read_index", self.read_index)
        return list(query_session(self.state, SESSION, parse_filter("path~lie"), index=self.first))


def swap_of(state: Path, path: Path, forged: attacker.Lines) -> Swap:
    true = Path(shutil.copy(path, state.with_name("true")))
    attacker.write_lines(path, forged)
    return Swap(state, true, read_index(StateFiles(state)))


def edited_at(lines: attacker.Lines, place: int) -> attacker.Lines:
    return attacker.recompute(
        [*lines[:place], attacker.edited(lines[place]), *lines[place + 1 :]], session_origin(SESSION)
    )


def with_one_more(lines: attacker.Lines) -> attacker.Lines:
    """Return a log's first lines and an entry that fits behind them."""
    chain = Chain.start(session_origin(SESSION))
    for line in lines:
        chain.take(line)
    return [*lines, chain.add(Encoder(TurnableClock()).encode(Samples().intended(99))[0])]


Handing = Callable[[Swap, pytest.MonkeyPatch], list[Entry | BrokenEntry]]


@pytest.mark.parametrize("handed", [Swap.read, Swap.queried, Swap.queried_for_the_lie])
async def test_a_forged_entry_that_was_handed_out_is_followed_by_a_broken_one(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch, handed: Handing
) -> None:
    path = await recorder.whole(actions=100)
    swap = swap_of(state, path, edited_at(attacker.read_lines(path), 40))

    *good, last = handed(swap, monkeypatch)

    assert [entry.seq for entry in good if isinstance(entry, Entry) and "lie" in str(entry.body)] == [40]
    assert isinstance(last, BrokenEntry)
    assert last == BrokenEntry(good[-1].seq, f"entry {good[-1].seq}: {WHY}", b"")


@pytest.mark.parametrize("handed", [Swap.read, Swap.queried])
async def test_entries_added_behind_the_true_end_are_told_when_they_are_gone_again(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch, handed: Handing
) -> None:
    path = await recorder.whole(actions=5, close=False)
    lines = attacker.read_lines(path)
    swap = swap_of(state, path, [*with_one_more(lines), b"{}"])

    *good, last = handed(swap, monkeypatch)

    assert [entry.seq for entry in good] == list(range(len(lines) + 1))
    assert last == BrokenEntry(len(lines), f"entry {len(lines)}: {WHY}", b"")


@pytest.mark.parametrize("handed", [Swap.read, Swap.queried])
async def test_a_second_look_goes_on_where_what_was_handed_out_is_true(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch, handed: Handing
) -> None:
    """The twin: the forgery came behind it, and was never handed out."""
    path = await recorder.whole(actions=100)
    lines = attacker.read_lines(path)
    swap = swap_of(state, path, [*lines[:80], b"{}", *lines[81:]])

    found = handed(swap, monkeypatch)

    assert [entry.seq for entry in found if isinstance(entry, Entry)] == list(range(len(lines)))
    assert len(found) == len(lines)


@pytest.mark.parametrize("forged", [True, False])
def test_what_was_pruned_up_to_the_last_entry_is_held_against_what_the_prune_names(
    state: Path, monkeypatch: pytest.MonkeyPatch, *, forged: bool
) -> None:
    LargeLog(state, SESSION, segment_bytes=20_000).write(Samples().intended(number) for number in range(200))
    segments = [path for _, path in StateFiles(state).session(SESSION).segments()]
    lines, kept = attacker.read_lines(segments[0]), segments[1].read_bytes()
    session = SessionReader(state, SESSION)
    if forged:
        attacker.write_lines(segments[0], with_one_more(lines[:-1]))  # in the place of the seal
    segments[1].write_bytes(b"{}\n" + kept)

    def pruned_meanwhile(files: StateFiles) -> HostIndex:
        attacker.write_lines(segments[0], lines)
        segments[1].write_bytes(kept)
        with HostLog(state) as host:
            prune(host, SESSION, why="a test", keep_segments=len(segments) - 1)
        return read_index(files)

    monkeypatch.setattr(reading, "read_index", pruned_meanwhile)
    found = list(session.entries())

    assert len(found) > len(lines)
    assert isinstance(found[-1], BrokenEntry) is forged
    assert [entry.seq for entry in found] == list(range(len(found)))


@pytest.mark.parametrize("forged", [True, False])
async def test_what_helpers_have_found_is_held_against_the_file_when_it_is_read_again(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch, *, forged: bool
) -> None:
    path = await recorder.whole(actions=100)
    true = attacker.read_lines(path)
    attacker.write_lines(path, edited_at(true, 40) if forged else true)
    (path.parent / "events.jsonl.1").touch()
    search = Search(SESSION, read_index(StateFiles(state)).session(SESSION), parse_filter("seq=40"))

    def helped(search: Search, _: Skim, paths: Sequence[Path], __: int) -> Iterator[Seen]:
        """Find as helpers do, and end without a word as where one dies, while the file is put back."""
        with suppress(BrokenLedgerError):
            yield from (one for one in search.through(Lines(paths), search.skim()) if one[0] == 40)
        attacker.write_lines(path, true)

    monkeypatch.setattr(searching, "ahead", helped)
    looking = seen(search, search.skim(), [path, path.parent / "events.jsonl.1"], processes=2)
    assert next(looking)[0] == 40
    with pytest.raises(BrokenLedgerError, match=WHY) if forged else nullcontext():
        assert 40 not in [seq for seq, *_ in looking]
