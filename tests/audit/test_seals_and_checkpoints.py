"""Forgeries that the table does not name: with other keys, of other epochs, and against the host's log."""

import json
import shutil
from pathlib import Path

import pytest

from audit.chain import Chain
from audit.clock import spell
from audit.encode import Encoder
from audit.errors import BrokenLedgerError
from audit.event import LogSealed, SessionRecovered
from audit.fields import Event
from audit.host import HostLog
from audit.index import read_index
from audit.journal import Journal
from audit.note import SignerKey, sign
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry
from audit.recover import session_origin
from audit.state import StateFiles
from audit.verdict import (
    Anchored,
    Broken,
    Closed,
    Crashed,
    Disclosed,
    Forged,
    Intact,
    Missing,
    Open,
    Pinned,
    RolledBack,
    SelfClaimed,
    Truncated,
    Unanchored,
    Unsigned,
)
from audit.verify import gather, verify_all, verify_host, verify_session
from tests.audit import attacker, third_party
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock

OTHER = "zzzzzzzzzzzz"
ORIGIN = session_origin(SESSION)


class Forger:
    """Writes on at the end of a session's file, with a key of its own."""

    def __init__(self, state: Path) -> None:
        self.path = state / "sessions" / SESSION / "events.jsonl"
        self.key = SignerKey.make(f"pairlock/session/{SESSION}/2", b"f" * 32)
        self.chain = Chain.start(ORIGIN)
        self.lines = attacker.read_lines(self.path)
        for line in self.lines:
            self.chain.take(line)

    def add(self, event: Event) -> None:
        """Append an entry that fits."""
        rest, _ = Encoder(TurnableClock()).encode(event)
        self.lines.append(self.chain.add(rest))

    def recovered(self, epoch: int = 2) -> SessionRecovered:
        """Return the beginning of an epoch with the forger's key."""
        return SessionRecovered(
            session=SESSION,
            epoch=epoch,
            vkey=str(self.key.verifier),
            writer="",
            unsealed_from=0,
            dropped_bytes=0,
            dropped_sha256="0" * 64,
        )

    def seal(self, *, epoch: int = 2) -> LogSealed:
        """Return a seal of everything so far by the forger's key."""
        return LogSealed(epoch=epoch, note=sign(self.chain.checkpoint(ORIGIN).text(), [self.key]))

    def write(self) -> None:
        """Put the lines in place of the session's."""
        attacker.write_lines(self.path, self.lines)


def host_key_of(state: Path) -> str:
    return StateFiles(state).host_vkey.read_text()


def why_broken(state: Path) -> tuple[int, int, str]:
    found = verify_session(state, SESSION).integrity
    assert isinstance(found, Broken)
    assert third_party.faults(state, host_key_of(state)) != []
    return found.first, found.last, found.why


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


async def test_a_session_planted_beside_the_host_log_is_not_believed(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    await recorder.whole(actions=5)
    await Recorder(tmp_path / "elsewhere").whole(OTHER, actions=5)
    shutil.copytree(tmp_path / "elsewhere" / "sessions" / OTHER, state / "sessions" / OTHER)

    unpinned = verify_session(state, OTHER)
    pinned = verify_session(state, OTHER, pinned_vkey=host_key_of(state))

    assert unpinned.authenticity == Unsigned("the host's log does not know this session")
    assert pinned.authenticity == Forged("the host's log does not know this session")
    assert OTHER in [one.log for one in verify_all(state)]


async def test_a_session_that_died_before_it_was_registered_is_no_fault(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    await recorder.whole(actions=5)
    other = await Recorder(tmp_path / "elsewhere").whole(OTHER, actions=0)
    (state / "sessions" / OTHER).mkdir()
    attacker.write_lines(state / "sessions" / OTHER / "events.jsonl", attacker.read_lines(other)[:1])

    found = verify_session(state, OTHER, pinned_vkey=host_key_of(state))

    assert found.faults() == {}
    assert isinstance(found.authenticity, Unsigned)


def host_lines(state: Path) -> attacker.Lines:
    return attacker.read_lines(state / "ledger.jsonl")


@pytest.mark.parametrize(
    "how", ["cut", "edited", "no checkpoint", "spoilt checkpoint", "gone", "no first line"]
)
async def test_a_host_log_that_does_not_hold_is_named(recorder: Recorder, state: Path, how: str) -> None:
    await recorder.whole(actions=5)
    key, lines = host_key_of(state), host_lines(state)
    match how:
        case "cut":
            attacker.write_lines(state / "ledger.jsonl", lines[:-1])
        case "edited":
            changed = [line.replace(b'"grant":"files"', b'"grant":"none!"') for line in lines]
            name = json.loads(lines[0])["body"]["name"]
            attacker.write_lines(state / "ledger.jsonl", attacker.recompute(changed, f"pairlock/host/{name}"))
        case "no checkpoint":
            (state / "checkpoint").unlink()
        case "spoilt checkpoint":
            note = (state / "checkpoint").read_text()
            (state / "checkpoint").write_text(note.replace("\u2014 pairlock", "\u2014 padlock"))
        case "gone":
            (state / "ledger.jsonl").unlink()
        case "no first line":
            attacker.write_lines(state / "ledger.jsonl", lines[1:])

    found = verify_host(gather(state, pinned_vkey=key))
    session = verify_session(state, SESSION, pinned_vkey=key)

    assert isinstance(found.integrity, Broken)
    assert isinstance(found.authenticity, Forged)
    assert isinstance(session.authenticity, Forged)
    with pytest.raises(BrokenLedgerError):
        session.check()
    with pytest.raises((BrokenLedgerError, Exception)) as refused:
        HostLog(state)
    assert "Error" in type(refused.value).__name__


async def test_a_torn_host_line_is_harmless_and_told(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=5)
    with (state / "ledger.jsonl").open("ab") as file:
        file.write(b'{"seq":9')

    found = verify_host(gather(state))

    assert (found.faults(), found.completeness) == ({}, Crashed(8))
    with HostLog(state):
        pass
    index = read_index(StateFiles(state))
    assert (index.broken, index.torn_bytes) == (None, 0)
    assert b'"type":"host.recovered"' in host_lines(state)[-1]


async def test_an_anchor_says_how_far_it_reaches(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=5)
    files = StateFiles(state)
    anchor, size = files.checkpoint.read_text(), read_index(files).size
    await recorder.whole(OTHER, actions=5)
    entries = read_index(files).session(SESSION).size

    first = verify_session(state, SESSION, against=anchor)
    other = verify_session(state, OTHER, against=anchor)

    assert first.freshness == Anchored(entries, size)
    assert other.freshness == Anchored(0, size)
    assert verify_session(state, SESSION).freshness == Unanchored()
    assert (first.faults(), other.faults()) == ({}, {})


async def test_an_anchor_of_a_stranger_or_of_another_log_does_not_fit(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    await recorder.whole(actions=5)
    elsewhere = Recorder(tmp_path / "elsewhere")
    await elsewhere.whole(actions=5)
    stranger = StateFiles(elsewhere.state).checkpoint.read_text()
    body = StateFiles(state).checkpoint.read_text().split("\n\n")[0] + "\n"
    forged = sign(body, [SignerKey.make("stranger", b"s" * 32)])
    mine = SignerKey.parse((state / "host.key").read_text())
    other_log = sign(body.replace("pairlock/host/", "pairlock/hosts/"), [mine])
    other_root = sign(body.replace(body.split("\n")[2], "A" * 43 + "="), [mine])

    for anchor in (stranger, forged, other_log, other_root):
        assert isinstance(verify_session(state, SESSION, against=anchor).freshness, RolledBack)


async def test_the_words_of_the_verdicts(recorder: Recorder, state: Path) -> None:
    """`ok` without a pinned key is self-consistency only, and the words say so."""
    await recorder.whole(actions=5)
    name = json.loads(host_lines(state)[0])["body"]["name"]

    found = verify_session(state, SESSION)
    pinned = verify_session(state, SESSION, pinned_vkey=host_key_of(state))

    assert found.verdicts() == {
        "integrity": "ok: 14 entries",
        "completeness": "closed",
        "authenticity": f"self-claimed by `{name}`: consistent with itself; pin a key to know more",
        "freshness": "not anchored: a rollback of everything would not be seen",
        "disclosure": "2 bodies there, 0 withheld and accounted for",
    }
    assert (found.integrity, found.disclosure) == (Intact(14, 0), Disclosed(2, 0, 0))
    assert (found.authenticity, pinned.authenticity) == (SelfClaimed(name), Pinned(name))


async def test_the_words_for_what_is_gone(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=5)
    attacker.change_session(state, lambda lines: lines[:9], recomputed=False)
    assert verify_session(state, SESSION).completeness == Truncated(9, 14)

    attacker.delete_session(state)

    found = verify_session(state, SESSION)
    assert found.completeness == Missing(14)
    assert found.faults() == {"completeness": "missing: the session's log of at least 14 entries is gone"}


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


@pytest.fixture
async def alone(recorder: Recorder, state: Path) -> Forger:
    """Return a forger at a session of which no host's log knows: a file that has to hold by itself."""
    await recorder.whole(actions=5, close=False)
    for name in ("ledger.jsonl", "checkpoint"):
        (state / name).unlink()
    return Forger(state)


def test_without_a_host_log_a_session_is_unsigned_and_still_held_to_its_own_seals(
    alone: Forger, state: Path, samples: Samples
) -> None:
    found = verify_session(state, SESSION)
    assert (found.faults(), found.authenticity) == ({}, Unsigned("the host's log does not know this session"))
    alone.add(alone.recovered())
    alone.add(samples.intended(7))
    alone.add(alone.seal())
    alone.write()
    assert verify_session(state, SESSION).faults() == {}

    alone.add(samples.intended(8))
    alone.add(alone.seal(epoch=1))
    alone.write()

    assert isinstance(verify_session(state, SESSION).integrity, Broken)


def test_without_a_host_log_an_epoch_still_follows_the_one_before(alone: Forger, state: Path) -> None:
    alone.add(alone.recovered(epoch=3))
    alone.write()

    found = verify_session(state, SESSION).integrity

    assert isinstance(found, Broken)
    assert found.why == "epoch 3 does not follow epoch 1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"session": OTHER}, f"it belongs to session `{OTHER}`"),
        ({"vkey": "nonsense"}, "a key is spelled `name+id+base64`"),
        ({"epoch": "2"}, "`session.recovered` is malformed or out of place"),
    ],
)
def test_without_a_host_log_a_recovery_still_has_to_make_sense(
    alone: Forger, state: Path, change: dict[str, object], why: str
) -> None:
    alone.add(alone.recovered().model_copy(update=change))
    alone.write()

    found = verify_session(state, SESSION).integrity

    assert isinstance(found, Broken)
    assert found.why.startswith(why)


def test_with_a_pinned_key_a_missing_host_log_is_a_fault(alone: Forger, state: Path) -> None:
    found = verify_session(state, SESSION, pinned_vkey=str(alone.key.verifier))

    assert found.authenticity == Forged("there is no host's log")


def test_without_a_host_log_a_chain_computed_anew_does_not_fit_its_seal(alone: Forger, state: Path) -> None:
    lines = [attacker.edited(line) if place == 4 else line for place, line in enumerate(alone.lines)]
    attacker.write_lines(alone.path, attacker.recompute(lines, ORIGIN))

    found = verify_session(state, SESSION).integrity
    asked = list(query_session(state, SESSION, parse_filter("type=nothing")))

    assert found == Broken(0, 12, "the seal signs another log", 0)
    assert [type(one) for one in asked] == [BrokenEntry]


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
