"""What leaves the machine proves itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from audit.errors import (
    BadProofError,
    BadSignatureError,
    UnknownEntryError,
)
from audit.note import SignerKey
from audit.proof import Proof, check, prove, prove_growth
from audit.state import StateFiles
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder
from tests.audit.unpacked import OTHER, key_of, pack, unpack, verify_there


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
