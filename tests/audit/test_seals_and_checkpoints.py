"""Forgeries that the table does not name: with other keys, of other epochs, of other lines."""

from pathlib import Path

import pytest

from audit.chain import Chain
from audit.clock import spell
from audit.encode import Encoder
from audit.errors import BrokenLedgerError
from audit.index import read_index
from audit.journal import Journal
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry
from audit.recover import walk_of
from audit.spelling import Spellings
from audit.state import StateFiles
from audit.verdict import (
    Broken,
    Closed,
    Crashed,
    Open,
)
from audit.verify import verify_session
from audit.walk import BrokenWalkError, Walk
from tests.audit import attacker
from tests.audit.forger import ORIGIN, Forger, why_broken
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock


async def test_a_recovery_with_a_key_that_nobody_registered_is_refused(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    await recorder.whole(actions=40, close=False)
    forger = Forger(state)
    end = forger.chain.size
    forger.add(forger.recovered())
    forger.add(samples.closed())
    forger.add(forger.seal())
    forger.write()

    assert why_broken(state) == (end, end, "its key is not the one that the host's log registered")


async def test_a_seal_of_an_epoch_that_is_over_is_refused(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """Whoever got hold of the first writer's key cannot seal for the second (CVE-2023-31439)."""
    await recorder.whole(actions=5, close=False)
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(samples.intended(9))
    forger = Forger(state)
    sealed = forger.chain.size
    forger.add(samples.intended(10))
    forger.add(forger.seal(epoch=1))
    forger.write()

    first, last, why = why_broken(state)

    assert (first, last) == (sealed, sealed + 1)
    assert why == "it is sealed by epoch 1, not 2"


async def test_a_seal_by_another_key_is_refused(recorder: Recorder, state: Path, samples: Samples) -> None:
    await recorder.whole(actions=5, close=False)
    forger = Forger(state)
    sealed = forger.chain.size
    forger.add(samples.intended(10))
    forger.add(forger.seal(epoch=1))
    forger.write()

    first, last, why = why_broken(state)

    assert (first, last) == (sealed, sealed + 1)
    assert why.startswith("the seal does not hold: not signed by")


async def test_an_epoch_cannot_be_skipped_or_begun_twice(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=5, close=False)
    for epoch in (1, 3):
        forger = Forger(state)
        end = forger.chain.size
        forger.add(forger.recovered(epoch))
        copy = forger.lines
        forger.write()

        assert why_broken(state)[:2] == (end, end)
        attacker.write_lines(forger.path, copy[:-1])


async def test_a_second_beginning_is_out_of_place(recorder: Recorder, state: Path) -> None:
    path = await recorder.whole(actions=5, close=False)
    lines = attacker.read_lines(path)
    attacker.write_lines(path, attacker.recompute([*lines, lines[0]], ORIGIN))

    assert why_broken(state)[2] == "`log.opened` is malformed or out of place"


async def test_entries_behind_a_sealed_end_are_refused(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    await recorder.whole(actions=5)
    forger = Forger(state)
    end = forger.chain.size
    assert verify_session(state, SESSION).completeness == Closed()
    forger.add(samples.intended(10))
    forger.write()

    found = verify_session(state, SESSION).integrity

    assert found == Broken(end, end, "it stands behind the session's sealed end", end)


async def test_a_session_lawfully_taken_up_after_its_end_is_not_refused(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    await recorder.whole(actions=5)

    async with Journal.reopen(state, SESSION) as journal:
        assert journal.recovered is not None
        assert journal.recovered.was_closed
        await journal.record(samples.intended(10))

        assert verify_session(state, SESSION).faults() == {}
        assert verify_session(state, SESSION).completeness == Open()
    assert verify_session(state, SESSION).completeness == Crashed(0)


async def test_a_broken_or_truncated_session_is_not_taken_up_again(recorder: Recorder, state: Path) -> None:
    path = await recorder.whole(actions=100)
    whole = path.read_bytes()
    for change in (attacker.edit, attacker.delete, attacker.cut_at_a_seal, lambda lines: lines[:20]):
        attacker.change_session(state, change, recomputed=True)
        before = path.read_bytes()

        with pytest.raises(BrokenLedgerError):
            async with Journal.reopen(state, SESSION):
                pass

        assert path.read_bytes() == before
        path.write_bytes(whole)


def test_times_are_spelled_alike_before_and_after_the_epoch() -> None:
    assert spell(0) == "1970-01-01T00:00:00.000000Z"
    assert spell(-1) == "1969-12-31T23:59:59.999999Z"
    assert spell(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"


async def test_a_log_rewritten_with_the_sessions_own_key_is_not_what_the_host_log_sealed(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """Whoever takes the key from the runner's memory is still bound by what the host's log was told."""
    async with recorder.journal() as journal:
        for number in range(10):
            await journal.record(samples.intended(number))
        stolen = journal._open.writer.file._sealing.key
    forger = Forger(state)
    forger.key = stolen
    forger.lines, forger.chain = forger.lines[:1], Chain.start(ORIGIN)
    forger.chain.take(forger.lines[0])
    for number in range(10):
        forger.add(samples.intended(number, text="src/lie.py"))
    forger.add(forger.seal(epoch=1))
    forger.write()

    assert why_broken(state) == (0, 11, "it is not what the host's log has sealed")


async def test_a_line_behind_the_end_is_refused_also_where_it_comes_alone(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """The lines of a log are taken in rows: the first behind the end may be the only one of its row."""
    await recorder.whole(actions=40)
    forger = Forger(state)
    known, whole = walk_of(SESSION, read_index(StateFiles(state)).session(SESSION)), len(forger.lines)
    walk = Walk(known.bound, known.chain, spellings=Spellings(often=1))
    forger.add(samples.intended(99))
    walk.feed(forger.lines[:whole])

    with pytest.raises(BrokenWalkError, match="it stands behind the session's sealed end") as refusal:
        walk.feed(forger.lines[whole:])

    assert (refusal.value.first, refusal.value.last) == (whole, whole)


def lines_that_follow(forger: Forger) -> dict[str, bytes]:
    """Return lines that name the right place and predecessor, and are not as a writer writes them."""
    rest, _ = Encoder(TurnableClock()).encode(Samples().intended(1))
    good = forger.chain.copy().add(rest)
    return {
        "it is not JSON": good[:-1],
        "the line is not JSON": good + b"x",
        "is not spelled": good.replace(b'"v":1', b'"v": 1'),
        "duplicate": good.replace(b'"v":1', b'"v":2,"v":1'),
        "escape": good.replace(b"src/app.py", b"src\\/app.py"),
        "long": good.replace(b"src/app.py", b"x" * 40_000),
    }


@pytest.mark.parametrize(
    "name", ["it is not JSON", "the line is not JSON", "is not spelled", "duplicate", "escape", "long"]
)
async def test_a_last_line_that_no_writer_writes_is_refused(
    recorder: Recorder, state: Path, samples: Samples, name: str
) -> None:
    await recorder.whole(actions=5, close=False)
    forger = Forger(state)
    end = forger.chain.size
    forger.lines.append(lines_that_follow(forger)[name])
    forger.write()

    found = verify_session(state, SESSION).integrity

    assert isinstance(found, Broken)
    assert (found.first, found.last, found.good) == (end, end, end)
    forger.lines.pop()
    forger.add(samples.intended(1))
    forger.write()
    assert verify_session(state, SESSION).faults() == {}


async def test_a_query_holds_every_line_to_its_chain_though_it_asks_for_none(
    recorder: Recorder, state: Path
) -> None:
    path = await recorder.whole(actions=100)
    lines = attacker.read_lines(path)
    for change in (attacker.edit, attacker.delete, attacker.reorder, attacker.cut):
        attacker.write_lines(path, change(lines))

        asked = list(query_session(state, SESSION, parse_filter("type=nothing")))

        assert [type(one) for one in asked] == [BrokenEntry]
    attacker.write_lines(path, lines)
    assert list(query_session(state, SESSION, parse_filter("type=nothing"))) == []


async def test_a_query_holds_a_log_to_what_the_host_log_knows(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1))
        stolen = journal._open.writer.file._sealing.key
    forger = Forger(state)
    forger.key = stolen
    forger.lines, forger.chain = forger.lines[:1], Chain.start(ORIGIN)
    forger.chain.take(forger.lines[0])
    forger.add(samples.intended(1, text="src/lie.py"))
    forger.add(forger.seal(epoch=1))
    forger.write()

    asked = list(query_session(state, SESSION, parse_filter("type=nothing")))

    assert [type(one) for one in asked] == [BrokenEntry]


async def test_a_query_is_not_stopped_dead_by_a_seal_that_is_no_json(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=5, close=False)
    forger = Forger(state)
    seal = next(line for line in forger.lines if b'"type":"log.sealed"' in line)
    rest = b"{" + seal.split(b",", 2)[2]
    forger.lines.append(forger.chain.add(rest)[:-2])
    forger.write()

    asked = list(query_session(state, SESSION, parse_filter("type=nothing")))

    assert [type(one) for one in asked] == [BrokenEntry]
