"""A large log is verified by several processes: they come to what one comes to, whatever was done to it."""

import gc
import os
import shutil
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from audit import scout
from audit.apart import Apart
from audit.chain import Chain, genesis, leaf_hash, line_start
from audit.errors import AuditError
from audit.index import read_index
from audit.merkle import Frontier
from audit.recover import session_origin, walk_of
from audit.scout import Looked, Scout, ahead
from audit.segments import Lines
from audit.state import StateFiles
from audit.verify import verify_session
from audit.walk import BrokenWalkError, Deed, Walk
from tests.audit import attacker
from tests.audit.samples import SESSION
from tests.audit.test_search_in_processes import ATTACKS, PROCESSES, change_lines, children, files_of
from tests.audit.test_search_in_processes import many_files as many_files  # noqa: PLC0414 - a fixture

ORIGIN = session_origin(SESSION)
ATTACKS_ON_WALKS: dict[str, Callable[[list[Path]], None]] = {
    **ATTACKS,
    "nothing": lambda _: None,
    "recomputed in the second": lambda paths: recompute(paths[1:]),
    "recomputed in the last": lambda paths: recompute(paths[-1:]),
    "another spelling": change_lines(
        2, lambda lines: [lines[0], lines[1].replace(b'"v":1', b'"v": 1'), *lines[2:]]
    ),
}


@pytest.fixture
def state(many_files: Path, tmp_path: Path) -> Path:
    return shutil.copytree(many_files, tmp_path / "state")


def recompute(paths: list[Path]) -> None:
    """Change a word in the first of some files, and compute the chain anew from there to the end."""
    first = attacker.read_lines(paths[0])
    changed = [first[0], first[1].replace(b"app", b"lie"), first[2].replace(b"app", b"lie"), *first[3:]]
    attacker.write_lines(paths[0], changed)
    every = [attacker.read_lines(path) for path in paths]
    chained = relinked([line for lines in every for line in lines])
    for path, lines in zip(paths, every, strict=True):
        attacker.write_lines(path, chained[: len(lines)])
        del chained[: len(lines)]


def relinked(lines: attacker.Lines) -> attacker.Lines:
    """Return lines of which each names the one before, the first what it named."""
    found = [lines[0]]
    for line in lines[1:]:
        start = line.index(b'"prev":"') + len(b'"prev":"')
        found.append(line[:start] + leaf_hash(found[-1]).hex().encode() + line[start + 64 :])
    return found


def fresh(state: Path) -> Walk:
    return walk_of(SESSION, read_index(StateFiles(state)).session(SESSION))


def outcome(walk: Walk, lines: Lines) -> tuple[object, ...]:
    """Return everything that a walk can say of the lines that are left to it."""
    problem = None
    try:
        for block in lines.blocks():
            walk.feed(block)
    except AuditError as error:
        problem = str(error)
    gathered = (set(walk.commitments), set(walk.moved), set(walk.proofs))
    stands = (walk.chain.size, walk.chain.head, walk.chain.frontier.root(), walk.sealed_size, walk.epoch)
    return problem, walk.last_kind, gathered, stands, lines.torn


@pytest.mark.parametrize("name", ATTACKS_ON_WALKS)
def test_with_helpers_a_walk_ends_where_one_ends(
    state: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ATTACKS_ON_WALKS[name](files_of(state))
    paths = files_of(state)

    walk, taken = ahead(fresh(state), paths, processes=PROCESSES)

    assert outcome(walk, Lines(paths[taken:])) == outcome(fresh(state), Lines(paths))
    assert capfd.readouterr() == ("", "")


def test_all_but_the_last_file_of_a_log_that_holds_are_taken_by_helpers(state: Path) -> None:
    paths = files_of(state)

    walk, taken = ahead(fresh(state), paths, processes=PROCESSES)

    assert taken == len(paths) - 1
    assert walk.chain.size == sum(len(attacker.read_lines(path)) for path in paths[:-1])


@pytest.mark.parametrize("place", range(3))
def test_from_a_file_that_does_not_hold_on_nothing_is_taken_from_helpers(state: Path, place: int) -> None:
    paths = files_of(state)
    recompute(paths[place:])

    _, taken = ahead(fresh(state), paths, processes=PROCESSES)

    assert taken == place


def test_a_root_holds_also_where_no_seal_stands(state: Path) -> None:
    """Who has the session's key may seal elsewhere: what the host's log was told holds where it was told."""
    paths, known = files_of(state), fresh(state)
    assert 5 not in known.bound.roots
    known.bound.roots[5] = bytes(32)

    walk, taken = ahead(known, paths, processes=PROCESSES)

    assert taken == 0
    with pytest.raises(BrokenWalkError, match="it is not what the host's log has sealed") as refusal:
        walk.feed(attacker.read_lines(paths[0]))
    assert (refusal.value.first, refusal.value.last) == (0, 4)


def test_a_file_that_begins_elsewhere_is_not_taken(state: Path) -> None:
    """It may hold in itself: a log of which a file is left out."""
    paths = files_of(state)

    _, taken = ahead(fresh(state), [paths[0], *paths[2:]], processes=PROCESSES)

    assert taken == 1


def test_helpers_that_are_killed_cost_nothing_but_time(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files_of(state)

    class Killed(Apart[scout.Said]):
        def results(self, number: int) -> Iterator[scout.Said]:
            for place, result in enumerate(super().results(number)):
                if number == 1 and place == 0:
                    for child in children(os.getpid()):
                        os.kill(child, signal.SIGKILL)
                yield result

    before = children(os.getpid())
    monkeypatch.setattr(scout, "Apart", Killed)
    walk, taken = ahead(fresh(state), paths, processes=PROCESSES)

    assert taken < len(paths) - 1
    assert outcome(walk, Lines(paths[taken:])) == outcome(fresh(state), Lines(paths))
    assert children(os.getpid()) == before


def test_a_scout_says_of_each_line_what_a_walk_sees(state: Path) -> None:
    lines, walk = attacker.read_lines(files_of(state)[0]), fresh(state)
    scout_of = Scout(walk.bound.origin, 0, walk.chain.head)

    looked = [scout_of.look(lines[start : start + 10]) for start in range(0, len(lines), 10)]

    assert [leaf for one in looked for leaf in one.leaves] == [leaf_hash(line) for line in lines]
    assert {deed.kind for one in looked for deed in one.deeds} == {"log.opened", "log.sealed"}
    for one in looked:
        walk.take(one.leaves, one.deeds)
    assert walk.sealed_size > 0
    assert isinstance(looked[0], Looked)


def sealed_with(*bodies: dict[str, object]) -> attacker.Lines:
    """Return lines that follow each other and call themselves seals, whatever they say."""
    start = line_start(at="2026-01-31T23:59:59.000001Z", mono_us=1, kind="log.sealed", version=1)
    chain = Chain(genesis(ORIGIN), Frontier())
    return [chain.add(b"%b%b}" % (start, orjson.dumps(body))) for body in bodies]


def test_a_scout_keeps_of_a_forged_seal_only_what_a_walk_asks() -> None:
    """A body of 32 KiB can be 10,000 lists, which take 20 times as much memory."""
    forged = {"epoch": 1, "note": "n", "vkey": ["k"], "z": [[]] * 10_000}

    looked = Scout(ORIGIN, 0, genesis(ORIGIN)).look(sealed_with(forged, {"z": [[]] * 10_000}))

    assert looked.deeds == [
        Deed(0, "log.sealed", {"epoch": 1, "note": "n"}),
        Deed(1, "log.sealed", {}),
    ]


def traced_bytes() -> int:
    """Return the memory in use but for what the interpreter keeps of objects that are gone."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize(
    "body",
    [
        {"epoch": 1, "note": "n"},
        {"epoch": 1, "note": "n" * 30_000},
        {"epoch": 1, "note": "n" * 30_000 + "\U0001f512", "vkey": "\u2014" * 100, "session": "s" * 500},
        {"z": [{"digest": f"{number:064x}", "size": number} for number in range(300)]},
        {"epoch": 1, "note": "n", "z": [[]] * 10_000},
    ],
    ids=["short", "long", "wide", "commitments", "lists"],
)
def test_what_a_scout_keeps_takes_no_more_room_than_is_counted(body: dict[str, object]) -> None:
    lines = sealed_with(*[body] * 30)
    one = Scout(ORIGIN, 0, genesis(ORIGIN))
    tracemalloc.start()
    try:
        looked = one.look(lines)
        one = Scout(ORIGIN, 0, genesis(ORIGIN))
        room_bytes, with_it = scout.room_of(looked), traced_bytes()
        del looked
        held_bytes = with_it - traced_bytes()
    finally:
        tracemalloc.stop()

    assert 0 < held_bytes < room_bytes + 8 * 1024


@pytest.mark.parametrize("bound", ["_LARGEST_FILE", "_MOST_ROOM_BYTES"])
def test_a_file_that_holds_more_than_a_writer_puts_into_one_is_left_to_the_walk(
    state: Path, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is counted while it is read: it may have grown since it was looked at."""
    paths = files_of(state)
    size = max(path.stat().st_size for path in paths[:-1])

    monkeypatch.setattr(scout, bound, size)
    _, all_of_them = ahead(fresh(state), paths, processes=PROCESSES)
    monkeypatch.setattr(scout, bound, 1000)
    walk, none = ahead(fresh(state), paths, processes=PROCESSES)

    assert (all_of_them, none) == (len(paths) - 1, 0)
    assert outcome(walk, Lines(paths)) == outcome(fresh(state), Lines(paths))


def test_a_large_log_verifies_alike(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this process has another thread there is no helper; the verdicts are the same either way."""
    alone = verify_session(state, SESSION)
    monkeypatch.setattr(scout, "LARGE_BYTES", 0)

    assert verify_session(state, SESSION) == alone
    assert alone.faults() == {}
