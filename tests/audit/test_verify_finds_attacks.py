"""The table of attacks, cell by cell: what each kind of verifier finds, and with which verdict."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import standalone
from audit.state import StateFiles
from audit.verdict import Broken, Forged, Missing, RolledBack, Truncated, Verification
from audit.verify import verify_all
from tests.audit import attacker, third_party
from tests.audit.samples import SESSION, Recorder

OTHER = "zzzzzzzzzzzz"
Attack = Callable[[Path], None]


def changing(change: Callable[[attacker.Lines], attacker.Lines], *, recomputed: bool) -> Attack:
    return lambda state: attacker.change_session(state, change, recomputed=recomputed)


def verdicts_of(found: list[Verification]) -> set[type]:
    """Return the kinds of all bad verdicts."""
    kinds = set()
    for one in found:
        for name in one.faults():
            kinds.add(type(getattr(one, name)))
    return kinds


# name: attack, found by the chain, found by chain and close, verdicts with the key pinned
TABLE: dict[str, tuple[Attack, bool, bool, set[type]]] = {
    "edit": (changing(attacker.edit, recomputed=False), True, True, {Broken}),
    "delete": (changing(attacker.delete, recomputed=False), True, True, {Broken, Truncated}),
    "reorder": (changing(attacker.reorder, recomputed=False), True, True, {Broken}),
    "insert": (changing(attacker.insert, recomputed=False), True, True, {Broken}),
    "edit, recomputed": (changing(attacker.edit, recomputed=True), False, False, {Broken}),
    "delete, recomputed": (changing(attacker.delete, recomputed=True), False, False, {Broken, Truncated}),
    "reorder, recomputed": (changing(attacker.reorder, recomputed=True), False, False, {Broken}),
    "insert, recomputed": (changing(attacker.insert, recomputed=True), False, False, {Broken}),
    "cut the tail": (changing(attacker.cut, recomputed=False), False, True, {Truncated}),
    "cut at a seal": (changing(attacker.cut_at_a_seal, recomputed=False), False, True, {Truncated}),
    "cut, close forged": (
        changing(attacker.cut_and_forge_the_close, recomputed=True),
        False,
        False,
        {Truncated},
    ),
    "another's file": (
        lambda state: attacker.put_another_in_its_place(state, OTHER),
        False,
        False,
        {Broken, Truncated},
    ),
    "session deleted": (attacker.delete_session, False, False, {Missing}),
    "host lines deleted too": (attacker.delete_session_and_its_host_lines, False, False, {Broken, Forged}),
}


@pytest.fixture
async def attacked(recorder: Recorder, state: Path) -> tuple[Path, str, str]:
    """Return a state of two sessions, its public key and a checkpoint kept elsewhere."""
    await recorder.whole(SESSION, actions=100)
    await recorder.whole(OTHER, actions=90)
    files = StateFiles(state)
    return state, files.host_vkey.read_text(), files.checkpoint.read_text()


def third_party_finds(state: Path, key: str, anchor: str | None) -> bool:
    return bool(third_party.faults(state, key, anchor))


def standalone_finds(state: Path, key: str, anchor: str | None, folder: Path) -> bool:
    command = [sys.executable, "-I", standalone.__file__, str(state), "--key", key]
    if anchor is not None:
        (folder / "anchor").write_text(anchor)
        command += ["--against", str(folder / "anchor")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode == 1


@pytest.mark.parametrize("name", TABLE)
def test_each_cell_of_the_table(attacked: tuple[Path, str, str], name: str, tmp_path: Path) -> None:
    """B107: edits, deletions, reorderings, cut tails; what only an anchor finds is found by one."""
    state, key, anchor = attacked
    attack, by_chain, by_close, verdicts = TABLE[name]
    assert verdicts_of(list(verify_all(state, pinned_vkey=key, against=anchor))) == set()
    before = attacker.fingerprint(state)

    attack(state)

    assert attacker.fingerprint(state) != before
    assert attacker.chain_only_finds(state) is by_chain
    assert attacker.chain_and_close_finds(state) is by_close
    assert verdicts_of(list(verify_all(state, pinned_vkey=key))) == verdicts
    of_host = {RolledBack} if Forged in verdicts else set()
    assert verdicts_of(list(verify_all(state, pinned_vkey=key, against=anchor))) == verdicts | of_host
    for verifier_anchor in (None, anchor):
        assert third_party_finds(state, key, verifier_anchor)
        assert standalone_finds(state, key, verifier_anchor, tmp_path)


def test_the_holder_of_the_host_key_is_found_only_by_an_anchor(
    attacked: tuple[Path, str, str], tmp_path: Path
) -> None:
    state, key, anchor = attacked
    rewrite_with_the_host_key(state, tmp_path / "forged")

    assert not attacker.chain_only_finds(state)
    assert not attacker.chain_and_close_finds(state)
    assert verdicts_of(list(verify_all(state, pinned_vkey=key))) == set()
    assert verdicts_of(list(verify_all(state, pinned_vkey=key, against=anchor))) == {RolledBack}
    assert not third_party_finds(state, key, None)
    assert third_party_finds(state, key, anchor)
    assert not standalone_finds(state, key, None, tmp_path)
    assert standalone_finds(state, key, anchor, tmp_path)


def rewrite_with_the_host_key(state: Path, elsewhere: Path) -> None:
    """Write both sessions anew, as they never were, under the same host key."""
    import asyncio

    elsewhere.mkdir(mode=0o700)
    shutil.copy2(state / "host.key", elsewhere / "host.key")
    shutil.copy2(state / "host.vkey", elsewhere / "host.vkey")
    forger = Recorder(elsewhere)
    asyncio.run(forger.whole(SESSION, actions=7))
    asyncio.run(forger.whole(OTHER, actions=7))
    shutil.rmtree(state)
    shutil.copytree(elsewhere, state)


async def test_a_rollback_of_everything_is_found_only_by_an_anchor(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    await recorder.whole(SESSION, actions=100)
    shutil.copytree(state, tmp_path / "older")
    await recorder.whole(OTHER, actions=20)
    files = StateFiles(state)
    key, anchor = files.host_vkey.read_text(), files.checkpoint.read_text()
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "older", state)

    assert not attacker.chain_only_finds(state)
    assert not attacker.chain_and_close_finds(state)
    assert verdicts_of(list(verify_all(state, pinned_vkey=key))) == set()
    assert verdicts_of(list(verify_all(state, pinned_vkey=key, against=anchor))) == {RolledBack}
    assert third_party_finds(state, key, anchor)
    assert standalone_finds(state, key, anchor, tmp_path)


@pytest.mark.parametrize(
    ("change", "first"), [(attacker.edit, 40), (attacker.delete, 40), (attacker.insert, 40)]
)
def test_the_first_bad_entry_is_named(
    attacked: tuple[Path, str, str], change: Callable[[attacker.Lines], attacker.Lines], first: int
) -> None:
    state, key, _ = attacked
    attacker.change_session(state, change, recomputed=False)

    found = next(one for one in verify_all(state, pinned_vkey=key) if one.log == SESSION)

    assert isinstance(found.integrity, Broken)
    assert found.integrity.first == first


def test_another_key_than_the_pinned_one_is_not_believed(
    attacked: tuple[Path, str, str], tmp_path: Path
) -> None:
    state, _, _ = attacked
    from audit.note import SignerKey

    stranger = str(SignerKey.make("stranger", b"s" * 32).verifier)

    assert verdicts_of(list(verify_all(state, pinned_vkey=stranger))) == {Forged}
    assert third_party_finds(state, stranger, None)
    assert standalone_finds(state, stranger, None, tmp_path)
