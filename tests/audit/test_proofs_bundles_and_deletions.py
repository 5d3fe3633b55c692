"""What leaves the machine proves itself; what is deleted on purpose is told from what was made away with."""

import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from audit.bundle import write_bundle
from audit.errors import (
    AuditError,
    BadProofError,
    BadSignatureError,
    BrokenLedgerError,
    LedgerLockedError,
    UnknownSessionError,
)
from audit.host import HostLog
from audit.index import read_index
from audit.keys import host_vkey
from audit.note import SignerKey, VerifierKey
from audit.openings import without
from audit.proof import Proof, check, prove, prove_growth
from audit.reader import SessionReader
from audit.state import StateFiles
from audit.verdict import Closed, Disclosed, Pruned, Undisclosed
from audit.verify import verify_session
from audit.withhold import prune, redact
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples

OTHER = "zzzzzzzzzzzz"


def pack(state: Path, target: Path) -> None:
    with target.open("wb") as file:
        write_bundle(state, [SESSION], file)


def key_of(state: Path) -> VerifierKey:
    key = host_vkey(StateFiles(state))
    assert key is not None
    return key


async def test_an_entry_is_proved_to_whoever_has_the_public_key(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)

    for seq in (0, 1, 63, 64, 150, 203):
        proof = Proof.from_json(prove(state, SESSION, seq).to_json())
        check(proof, key_of(state))
        assert b"session.registered" not in proof.line


async def test_a_changed_proof_is_refused(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    proof, key = prove(state, SESSION, 40), key_of(state)
    other = prove(state, SESSION, 44)

    check(proof, key)
    for changed in (
        replace(proof, line=attacker.edited(proof.line)),
        replace(proof, line=other.line),
        replace(proof, line=other.line, seq=44),
        replace(proof, seq=41),
        replace(proof, path=proof.path[:-1]),
        replace(proof, session=OTHER),
        replace(proof, sealed_line=proof.sealed_line.replace(b'"epoch":1', b'"epoch":2')),
        replace(proof, sealed_seq=proof.sealed_seq + 1),
    ):
        with pytest.raises(BadProofError):
            check(changed, key)
    with pytest.raises(BadSignatureError):
        check(proof, SignerKey.make("stranger", b"s" * 32).verifier)


async def test_no_proof_of_what_no_seal_covers(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=3)

    for seq in (-1, 10_000):
        with pytest.raises(BadProofError):
            prove(state, SESSION, seq)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"form":"pairlock-proof/1"}', b"\xff"])
def test_what_is_no_proof_is_refused(raw: bytes) -> None:
    with pytest.raises(BadProofError):
        Proof.from_json(raw)


async def test_growth_is_proved_against_an_older_checkpoint(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=3)
    older = StateFiles(state).checkpoint.read_text()
    await recorder.whole(OTHER, actions=3)

    assert len(prove_growth(state, older)) > 0


def unpack(bundle: Path, folder: Path) -> Path:
    with tarfile.open(bundle) as archive:
        archive.extractall(folder, filter="data")
    return folder / "bundle"


def verify_there(folder: Path, *arguments: str) -> tuple[int, str]:
    """Verify with the bundle's own verifier, in a Python without our packages."""
    command = [sys.executable, "-I", "-S", str(folder / "verify.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={})
    assert done.stderr == ""
    return done.returncode, done.stdout


async def test_a_bundle_verifies_where_there_is_only_python(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    await recorder.whole(actions=100)
    await recorder.whole(OTHER, actions=3)
    pack(state, tmp_path / "one.tar.gz")

    folder = unpack(tmp_path / "one.tar.gz", tmp_path)
    code, out = verify_there(folder, "--key", str(key_of(state)))

    assert (code, "closed" in out, "not in this bundle" in out) == (0, True, True)
    assert not list(folder.rglob("*.key"))
    attacker.write_lines(
        folder / "sessions" / SESSION / "events.jsonl",
        attacker.recompute(
            attacker.edit(attacker.read_lines(folder / "sessions" / SESSION / "events.jsonl")),
            f"pairlock/session/{SESSION}",
        ),
    )
    assert verify_there(folder, "--key", str(key_of(state)))[0] == 1


async def test_the_same_bundle_is_the_same_bytes(recorder: Recorder, state: Path, tmp_path: Path) -> None:
    await recorder.whole(actions=3)

    for name in ("one", "two"):
        pack(state, tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


async def test_a_body_withheld_on_purpose_is_accounted_for(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=30)
    digest = next(iter(SessionReader(state, SESSION).openings.digests()))

    with HostLog(state) as host:
        redact(host, SESSION, digest[:12], by="someone", why="a name stood in it")

    found = verify_session(state, SESSION)
    assert found.faults() == {}
    assert found.disclosure == Disclosed(opened=3, withheld=1, sealed_only=0)
    assert digest.encode() not in (state / "sessions" / SESSION / "openings.jsonl").read_bytes()


async def test_a_body_made_away_with_is_not_accounted_for(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=30)
    session = StateFiles(state).session(SESSION)
    digest = next(iter(SessionReader(state, SESSION).openings.digests()))

    without(session, digest)

    assert verify_session(state, SESSION).disclosure == Undisclosed((digest,), ())


async def test_a_body_that_was_changed_is_found(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=30)
    path = state / "sessions" / SESSION / "openings.jsonl"
    path.write_bytes(path.read_bytes().replace(b"mend the tests", b"burn the tests"))

    found = verify_session(state, SESSION).disclosure

    assert isinstance(found, Undisclosed)
    assert (len(found.missing), len(found.changed)) == (0, 1)


async def test_a_blob_that_was_changed_or_spoilt_is_found(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.finished(1, journal.commit("x" * 100_000)))
    (blob,) = (state / "sessions" / SESSION / "blobs").iterdir()

    assert verify_session(state, SESSION).faults() == {}
    for raw in (blob.read_bytes()[:-20], b"not gzip", __import__("gzip").compress(b"y" * 100_000)):
        blob.write_bytes(raw)
        assert "disclosure" in verify_session(state, SESSION).faults()


async def segmented(recorder: Recorder, samples: Samples) -> None:
    async with recorder.journal(segment_bytes=20_000) as journal:
        for number in range(300):
            body = journal.commit(f"body {number}") if number % 3 == 0 else None
            await journal.record(samples.finished(number, body))
        await journal.close(samples.closed())


async def test_old_segments_are_pruned_and_the_rest_still_proves_itself(
    recorder: Recorder, state: Path, samples: Samples, tmp_path: Path
) -> None:
    await segmented(recorder, samples)
    session = StateFiles(state).session(SESSION)
    before = len(session.segments())

    with HostLog(state) as host:
        gone = prune(host, SESSION, why="older than a year", keep_segments=1)

    assert (before > 2, len(session.segments()), gone > 0) == (True, 1, True)
    found = verify_session(state, SESSION)
    assert found.faults() == {}
    assert found.completeness == Closed()
    assert SessionReader(state, SESSION).openings.digests()
    pack(state, tmp_path / "b.tar.gz")
    assert verify_there(unpack(tmp_path / "b.tar.gz", tmp_path), "--key", str(key_of(state)))[0] == 0
    attacker.write_lines(
        session.segments()[0][1],
        [attacker.edited(line) for line in attacker.read_lines(session.segments()[0][1])][:-1],
    )
    assert verify_session(state, SESSION).faults() != {}


async def test_a_session_pruned_whole_is_told_from_one_that_was_deleted(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    await segmented(recorder, samples)

    with HostLog(state) as host:
        gone = prune(host, SESSION, why="no longer needed")

    found = verify_session(state, SESSION)
    assert found.completeness == Pruned(gone)
    assert found.faults() == {}
    assert (state / "sessions" / SESSION / "openings.jsonl").read_bytes() == b""


async def test_what_is_broken_is_evidence_and_is_not_pruned(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, attacker.edit, recomputed=True)

    with HostLog(state) as host, pytest.raises(BrokenLedgerError):
        prune(host, SESSION, why="to hide it")

    assert (state / "sessions" / SESSION / "events.jsonl").exists()
    assert read_index(StateFiles(state)).session(SESSION).pruned is None


async def test_a_session_that_is_being_written_is_neither_pruned_nor_redacted(
    recorder: Recorder, state: Path
) -> None:
    async with recorder.journal() as journal:
        commitment = journal.commit("x")
        with HostLog(state) as host:
            with pytest.raises(LedgerLockedError):
                prune(host, SESSION, why="too early")
            with pytest.raises(LedgerLockedError):
                redact(host, SESSION, commitment.digest, by="me", why="too early")


async def test_only_what_is_there_can_be_withheld(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=3)

    with HostLog(state) as host:
        for digest in ("", "f" * 64, "\x1b[2J"):
            with pytest.raises(AuditError):
                redact(host, SESSION, digest, by="me", why="a try")
        with pytest.raises(UnknownSessionError):
            redact(host, OTHER, "0" * 64, by="me", why="a try")
