"""A host's log that does not hold, checkpoints kept elsewhere, and the words of the verdicts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from audit.errors import BrokenLedgerError
from audit.evidence import gather
from audit.host import HostLog
from audit.index import read_index
from audit.note import SignerKey, sign, unverified_checkpoint
from audit.state import StateFiles
from audit.verdict import (
    Anchored,
    Broken,
    Crashed,
    Disclosed,
    Forged,
    Intact,
    Missing,
    Pinned,
    RolledBack,
    SelfClaimed,
    Truncated,
    Unanchored,
    Unsigned,
)
from audit.verify import verify_all, verify_host, verify_session, verify_with
from tests.audit import attacker
from tests.audit.forger import OTHER, host_key_of, host_lines
from tests.audit.samples import SESSION, Recorder


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

    attacker.write_lines(state / "sessions" / OTHER / "events.jsonl", attacker.read_lines(other)[:2])
    planted = verify_session(state, OTHER, pinned_vkey=host_key_of(state))
    assert planted.authenticity == Forged("the host's log does not know this session")


async def test_another_host_of_the_same_name_is_another_host(recorder: Recorder, state: Path) -> None:
    """A name is whatever its holder writes there: the key counts, for the log and for a checkpoint."""
    await recorder.whole(actions=5)
    files, honest = StateFiles(state), verify_host(gather(state, pinned_vkey=host_key_of(state)))
    twin = SignerKey.make(host_key_of(state).split("+")[0], b"t" * 32)
    note = sign(unverified_checkpoint(files.checkpoint.read_text()).text(), [twin])
    unknown = RolledBack("the checkpoint is signed by a key that this log does not know")

    pinned = verify_host(gather(state, pinned_vkey=str(twin.verifier), against=note))
    unpinned = verify_host(gather(state, pinned_vkey=host_key_of(state), against=note))

    signed = f"the host's log is signed by `{twin.name}`, not by the pinned key of that name"
    assert pinned.authenticity == Forged(signed)
    assert isinstance(pinned.freshness, Anchored)
    assert (unpinned.authenticity, unpinned.freshness) == (honest.authenticity, unknown)
    assert isinstance(honest.authenticity, Pinned)


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
    assert found.integrity.good == 0
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


async def test_an_anchor_covers_a_seal_that_stands_before_its_size_and_none_that_comes_then(
    recorder: Recorder, state: Path
) -> None:
    await recorder.whole(actions=5)
    evidence = gather(state)
    ((size, seq), *_) = sorted(evidence.index.session(SESSION).sealed.items())

    covered = [
        verify_with(replace(evidence, freshness=Anchored(0, host_size)), SESSION).freshness
        for host_size in (seq, seq + 1)
    ]

    assert covered == [Anchored(0, seq), Anchored(size, seq + 1)]


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
