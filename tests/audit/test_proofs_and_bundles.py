"""What leaves the machine proves itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from audit.chain import Chain
from audit.errors import (
    BadProofError,
    BadSignatureError,
    UnknownEntryError,
)
from audit.host import HostLog
from audit.index import read_index
from audit.keys import host_key
from audit.note import SignerKey, sign
from audit.proof import Proof, check, prove, prove_growth
from audit.state import StateFiles
from audit.withhold import prune
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples
from tests.audit.unpacked import OTHER, key_of, pack, unpack, verify_state, verify_there


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

    with pytest.raises(BadProofError, match=r"^no seal of the host's log covers entry `-1`"):
        prove(state, SESSION, -1)
    with pytest.raises(
        UnknownEntryError, match=r"^the session has no entry `10000`; hint: its entries are 0 to 9"
    ):
        prove(state, SESSION, 10_000)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"form":"pairlock-proof/1"}', b"\xff"])
def test_what_is_no_proof_is_refused(raw: bytes) -> None:
    with pytest.raises(BadProofError):
        Proof.from_json(raw)


async def test_growth_is_proved_against_an_older_checkpoint(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=3)
    older = StateFiles(state).checkpoint.read_text()
    await recorder.whole(OTHER, actions=3)

    assert len(prove_growth(state, older)) > 0
    with HostLog(state) as host:
        host.rotate()
    assert len(prove_growth(state, older)) > 0
    with HostLog(state) as host:
        host.rotate()
    newest = StateFiles(state).checkpoint.read_text()
    assert (len(prove_growth(state, older)) > 0, prove_growth(state, newest)) == (True, [])
    body, _, _ = older.rpartition("\n\n")
    stranger = SignerKey.make(key_of(state).name, b"s" * 32)
    with pytest.raises(BadSignatureError):
        prove_growth(state, sign(f"{body}\n", [stranger]))


@pytest.mark.parametrize("place", [True, "5", "\u0665", 5.9, 5.0, None, [5], 10**30, -1, 6])
@pytest.mark.parametrize("name", ["seq", "sealed_seq"])
async def test_a_place_in_a_proof_is_spelled_one_way(
    recorder: Recorder, state: Path, name: str, place: object
) -> None:
    await recorder.whole(actions=3)
    raw = prove(state, SESSION, 5).to_json()
    check(Proof.from_json(raw), key_of(state))

    changed = json.dumps({**json.loads(raw), name: place}).encode()

    with pytest.raises(BadProofError):
        check(Proof.from_json(changed), key_of(state))


async def test_parts_of_two_proofs_prove_nothing(recorder: Recorder, state: Path) -> None:
    """Both are of this host, and each holds; the second session and its host's tree are larger."""
    await recorder.whole(actions=40)
    early = prove(state, SESSION, 5)
    await recorder.whole(OTHER, actions=60)
    own, other, key = prove(state, SESSION, 5), prove(state, OTHER, 5), key_of(state)
    for proof in (early, own, other):
        check(proof, key)
    seal = {name: getattr(other, name) for name in ("sealed_line", "sealed_seq", "sealed_path")}

    for changed in (
        replace(own, checkpoint=early.checkpoint),
        replace(early, checkpoint=own.checkpoint),
        replace(own, path=other.path),
        replace(own, line=other.line, path=other.path),
        replace(own, session=OTHER),
        replace(own, session=OTHER, **seal),
        replace(own, **seal),
        replace(own, path=(*own.path, bytes(32))),
        replace(own, path=(b"", *own.path[1:])),
    ):
        with pytest.raises(BadProofError):
            check(changed, key)


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


def crash_before_the_checkpoint(state: Path) -> None:
    """Leave the host's log as a crash does between its last line and that line's checkpoint."""
    files = StateFiles(state)
    files.checkpoint.rename(files.next_checkpoint)
    origin = read_index(files).origin
    chain = Chain.start(origin)
    for line in attacker.read_lines(files.log)[:-1]:
        chain.take(line)
    files.checkpoint.write_text(sign(chain.checkpoint(origin).text(), [host_key(files)]))


@pytest.mark.parametrize("last", ["session.sealed", "session.pruned"])
async def test_a_bundle_made_after_a_crash_holds_what_the_state_holds(
    recorder: Recorder, samples: Samples, state: Path, tmp_path: Path, last: str
) -> None:
    """The line that only the checkpoint signed in advance covers goes in, with that checkpoint."""
    async with recorder.journal(segment_bytes=4000) as journal:
        for number in range(150):
            await journal.record(samples.intended(number))
        await journal.close(samples.closed())
    if last == "session.pruned":
        with HostLog(state) as host:
            prune(host, SESSION, why="old", keep_segments=1)
    words = verify_state(state, "--key", str(key_of(state)))
    crash_before_the_checkpoint(state)
    assert verify_state(state, "--key", str(key_of(state))) == words

    pack(state, tmp_path / "one.tar.gz")

    found = verify_there(unpack(tmp_path / "one.tar.gz", tmp_path), "--key", str(key_of(state)))
    assert found == words
    assert words[0] == 0
