"""Whoever holds the host's key later can write on; what a checkpoint kept elsewhere covers stays so."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from audit import standalone
from audit.chain import leaf_hash, read
from audit.host import HostLog
from audit.host_event import SegmentPruned, SessionRegistered, SessionReopened, SessionSealed
from audit.index import read_index
from audit.merkle import EMPTY_ROOT
from audit.note import SignerKey
from audit.schema import event_of
from audit.state import StateFiles
from audit.verdict import Broken, Forged, RolledBack
from audit.verify import verify_all, verify_session
from tests.audit import attacker, third_party
from tests.audit.forger import OTHER, Forger
from tests.audit.samples import SESSION, Recorder, Samples

STRANGER = str(SignerKey.make(f"pairlock/session/{SESSION}/1", b"s" * 32).verifier)


@pytest.fixture
async def kept(recorder: Recorder, state: Path) -> tuple[str, str]:
    """Return the host's public key and a checkpoint, kept elsewhere when the sessions had ended."""
    await recorder.whole(SESSION, actions=100)
    await recorder.whole(OTHER, actions=40)
    files = StateFiles(state)
    return files.host_vkey.read_text(), files.checkpoint.read_text()


def all_find(state: Path, kept: tuple[str, str], folder: Path) -> dict[str, bool]:
    """Tell which verifier finds something, each with the checkpoint that was kept."""
    key, anchor = kept
    (folder / "anchor").write_text(anchor)
    command = [sys.executable, "-I", standalone.__file__, str(state), "--key", key]
    done = subprocess.run([*command, "--against", str(folder / "anchor")], capture_output=True, check=False)
    assert done.stderr == b""
    return {
        "verify": any(found.faults() for found in verify_all(state, pinned_vkey=key, against=anchor)),
        "third party": bool(third_party.faults(state, key, anchor)),
        "standalone": done.returncode == 1,
    }


def standalone_says(state: Path, key: str, *more: str) -> str:
    command = [sys.executable, "-I", standalone.__file__, str(state), "--key", key, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


ALL = {"verify": True, "third party": True, "standalone": True}
NONE = dict.fromkeys(ALL, False)


async def test_a_session_sealed_once_more_as_it_never_was_is_found(
    kept: tuple[str, str], state: Path, tmp_path: Path
) -> None:
    """The host's log only grows, so the checkpoint still fits it; but it says two things of one session."""
    forger = Recorder(tmp_path / "forged")
    await forger.whole(SESSION, actions=100)
    told = attacker.read_lines(tmp_path / "forged" / "ledger.jsonl")
    assert all_find(state, kept, tmp_path) == NONE

    with HostLog(state) as host:
        for line in told:
            if SESSION.encode() in line:
                host.append(event_of(read(line, leaf_hash(line))))
    shutil.rmtree(state / "sessions" / SESSION)
    shutil.copytree(tmp_path / "forged" / "sessions" / SESSION, state / "sessions" / SESSION)

    assert all_find(state, kept, tmp_path) == ALL
    found = {type(one.freshness) for one in verify_all(state, pinned_vkey=kept[0], against=kept[1])}
    assert RolledBack not in found


@pytest.mark.parametrize("what", ["registered", "sealed", "sealed behind another line", "reopened", "pruned"])
async def test_a_line_that_contradicts_an_earlier_one_is_named(
    kept: tuple[str, str], state: Path, tmp_path: Path, what: str
) -> None:
    """No session's file is touched: what is said of it later is enough."""
    record = read_index(StateFiles(state)).session(SESSION)
    size = max(record.roots)
    head, root = record.heads[size].hex(), record.roots[size].hex()
    second = {"session": SESSION, "epoch": 1, "vkey": STRANGER}
    seal = {"session": SESSION, "epoch": 1, "size": size, "closed": True}
    lines = {
        "registered": SessionRegistered(**second, grant="none", workspace=None, owner_uid=0),
        "sealed": SessionSealed(**seal, root="0" * 64, head=head),
        "sealed behind another line": SessionSealed(**seal, root=root, head="0" * 64),
        "reopened": SessionReopened(**second, size=size, root=root),
        "pruned": SegmentPruned(
            session=SESSION, size=size, peaks=("0" * 64,) * size.bit_count(), head=head, epoch=1, why="x"
        ),
    }

    with HostLog(state) as host:
        seq = host.append(lines[what]).seq

    host_verdict = next(iter(verify_all(state, pinned_vkey=kept[0], against=kept[1]))).integrity
    assert isinstance(host_verdict, Broken)
    assert host_verdict.first == seq
    assert standalone_says(state, kept[0]).startswith("host: BROKEN: ")


PRUNED_ODDLY: dict[str, dict[str, object]] = {
    "an epoch that never was": {"epoch": 9},
    "behind its sealed end": {"size": 1 << 20, "peaks": ("0" * 64,)},
    "another last entry": {"head": "0" * 64},
    "a peak too few": {"peaks": ()},
    "nothing": {"size": 0, "peaks": ()},
}


@pytest.mark.parametrize("what", PRUNED_ODDLY)
async def test_a_pruned_part_that_cannot_have_been_is_named(
    kept: tuple[str, str], state: Path, what: str
) -> None:
    chain = Forger(state).chain
    peaks = tuple(peak.hex() for peak in chain.frontier.peaks)
    pruned = SegmentPruned(
        session=SESSION, size=chain.size, peaks=peaks, head=chain.head.hex(), epoch=1, why="x"
    )

    with HostLog(state) as host:
        seq = host.append(pruned.model_copy(update=PRUNED_ODDLY[what])).seq

    broken = read_index(StateFiles(state)).broken
    assert broken is not None
    assert (broken.seq, str(broken)) == (seq, f"what is pruned of `{SESSION}` is not what was sealed")
    said = "host: BROKEN: what is pruned is not what was sealed"
    assert standalone_says(state, kept[0]).splitlines()[0] == said


async def test_who_was_taken_up_first_and_registered_later_is_judged_alike(
    kept: tuple[str, str], state: Path
) -> None:
    """A second registration is one that follows a registration, for both verifiers."""
    key = {"session": "yyyyyyyyyyyy", "vkey": STRANGER}
    registered = SessionRegistered(**key, epoch=1, grant="none", workspace=None, owner_uid=0)

    with HostLog(state) as host:
        host.append(SessionReopened(**key, epoch=2, size=0, root=EMPTY_ROOT.hex()))
        host.append(registered)
        assert read_index(StateFiles(state)).broken is None
        assert standalone_says(state, kept[0]).startswith("host: ok")
        host.append(registered)

    assert read_index(StateFiles(state)).broken is not None
    assert standalone_says(state, kept[0]).startswith("host: BROKEN")


async def test_what_a_host_lawfully_says_again_contradicts_nothing(
    recorder: Recorder, kept: tuple[str, str], state: Path, tmp_path: Path
) -> None:
    """The twin: the same seal again; a session taken up twice, for at first its runner got no further."""
    record = read_index(StateFiles(state)).session(SESSION)
    size = max(record.roots)
    head, root = record.heads[size].hex(), record.roots[size].hex()

    with HostLog(state) as host:
        host.append(SessionSealed(session=SESSION, epoch=1, size=size, root=root, head=head, closed=True))
        for seed in (b"a", b"b"):
            key = SignerKey.make(f"pairlock/session/{SESSION}/2", seed * 32).verifier
            host.append(SessionReopened(session=SESSION, epoch=2, vkey=str(key), size=size, root=root))

    assert all_find(state, kept, tmp_path) == NONE


async def test_a_retired_key_signs_nothing_for_who_pinned_the_one_behind_it(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    """Who has the old key writes on from before the rotation; where that is pinned, only an anchor tells."""
    await recorder.whole(SESSION, actions=3)
    shutil.copytree(state, tmp_path / "before")
    old = StateFiles(state).host_vkey.read_text()
    with HostLog(state) as host:
        new = str(host.rotate().verifier)
    anchor = StateFiles(state).checkpoint.read_text()
    assert all_find(state, (new, anchor), tmp_path) == all_find(state, (old, anchor), tmp_path) == NONE

    shutil.rmtree(state)
    shutil.copytree(tmp_path / "before", state)
    await recorder.whole(OTHER, actions=3)

    own = StateFiles(state).checkpoint.read_text()
    assert all_find(state, (new, own), tmp_path) == all_find(state, (old, anchor), tmp_path) == ALL
    assert all_find(state, (old, own), tmp_path) == NONE
    kinds = {type(one.authenticity) for one in verify_all(state, pinned_vkey=new)}
    assert kinds == {Forged}
    kinds = {type(one.freshness) for one in verify_all(state, pinned_vkey=old, against=anchor)}
    assert kinds == {RolledBack}


async def test_who_deletes_all_and_writes_on_behind_it_is_told_of(
    kept: tuple[str, str], state: Path, tmp_path: Path
) -> None:
    """All that the checkpoint covers was deleted after it was made: both verifiers say so of that session."""
    forger, samples = Forger(state), Samples()
    before, head = forger.chain.copy(), forger.chain.head.hex()
    size, peaks = before.size, tuple(peak.hex() for peak in before.frontier.peaks)
    reopened = SessionReopened(
        session=SESSION,
        epoch=2,
        vkey=str(forger.key.verifier),
        size=size,
        root=before.frontier.root().hex(),
    )
    with HostLog(state) as host:
        host.append(reopened)
        host.append(SegmentPruned(session=SESSION, size=size, peaks=peaks, head=head, epoch=1, why="x"))
    for event in (forger.recovered(), samples.intended(7), samples.finished(7), samples.closed()):
        forger.add(event)
    forger.add(forger.seal())
    attacker.write_lines(forger.path, forger.lines[size:])

    found = verify_session(state, SESSION, pinned_vkey=kept[0], against=kept[1])

    gone = f"ok: {size + 5} entries, the first {size} of them deleted on purpose"
    assert str(found.integrity) == gone
    assert str(found.freshness).endswith("; pruned after that checkpoint")
    (tmp_path / "anchor").write_text(kept[1])
    told = standalone_says(state, kept[0], "--against", str(tmp_path / "anchor")).splitlines()
    untold = "closed; the host's log does not know of it"
    said = f"{SESSION}: {gone}, {size + 5} sealed, {untold}; pruned after that checkpoint"
    assert (said in told, sum("pruned after" in line for line in told)) == (True, 1)
