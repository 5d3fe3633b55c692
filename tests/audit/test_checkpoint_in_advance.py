"""What is signed in advance counts only where a crash left a line that the checkpoint does not cover."""

import shutil
from pathlib import Path

import pytest

from audit.chain import Chain
from audit.errors import AuditError
from audit.host import HostLog
from audit.host_event import PolicyTrusted
from audit.index import read_index
from audit.keys import host_key, prepare_rotation
from audit.note import SignerKey, sign
from audit.state import StateFiles
from audit.verify import verify_all
from tests.audit.samples import Recorder
from tests.audit.test_three_verifiers_agree import ours_finds, single_file_finds

TRUSTED = PolicyTrusted(origin="p", digest="0" * 64, by="a test")
NO_CHECKPOINT = {
    "no note": b"garbage",
    "no text": b"\xff\x00\x80",
    "nothing": b"",
    "a hole": b"\x00" * 300,
    "no size": b"x\n\ny\n\n\xe2\x80\x94 z AAAAAAAA\n",
}


@pytest.fixture
async def whole(recorder: Recorder, state: Path) -> Path:
    await recorder.whole(actions=3)
    assert found(state) == (False, False)
    return state


def found(state: Path) -> tuple[bool, bool]:
    """Return whether our verifier finds a fault, and whether the single file does."""
    key = (state / "host.vkey").read_text().strip()
    return ours_finds(state, key), single_file_finds(state, key)


def resized(note: bytes, more: int) -> bytes:
    """Return a note with another number of entries: its signature is wrong then."""
    origin, size, rest = note.split(b"\n", 2)
    return b"%b\n%d\n%b" % (origin, int(size) + more, rest)


def append(state: Path) -> None:
    with HostLog(state) as host:
        host.append(TRUSTED)


@pytest.mark.parametrize("note", NO_CHECKPOINT.values(), ids=NO_CHECKPOINT)
def test_what_is_left_behind_beside_a_checkpoint_that_covers_the_log_is_no_fault(
    whole: Path, note: bytes
) -> None:
    """Nor does it keep the next writer from writing."""
    (whole / "checkpoint.next").write_bytes(note)

    assert found(whole) == (False, False)
    append(whole)
    assert found(whole) == (False, False)
    assert not (whole / "checkpoint.next").exists()


@pytest.mark.parametrize("more", [-1, 0, 1, 100])
def test_a_forged_one_beside_a_checkpoint_that_covers_the_log_changes_nothing(whole: Path, more: int) -> None:
    (whole / "checkpoint.next").write_bytes(resized((whole / "checkpoint").read_bytes(), more))

    assert found(whole) == (False, False)
    append(whole)
    assert found(whole) == (False, False)


def crashed(state: Path) -> bytes:
    """Leave a state as a crash does before a checkpoint is put in place; return the one signed in advance."""
    before = (state / "checkpoint").read_bytes()
    append(state)
    coming = (state / "checkpoint").read_bytes()
    (state / "checkpoint.next").write_bytes(coming)
    (state / "checkpoint").write_bytes(before)
    return coming


def test_after_a_crash_the_one_signed_in_advance_covers_the_last_line(whole: Path) -> None:
    crashed(whole)

    assert found(whole) == (False, False)
    append(whole)
    assert found(whole) == (False, False)


@pytest.mark.parametrize("note", [*NO_CHECKPOINT.values(), None], ids=[*NO_CHECKPOINT, "forged"])
def test_a_line_that_only_a_forged_one_covers_is_nobodys(whole: Path, note: bytes | None) -> None:
    coming = crashed(whole)
    forged = resized(resized(coming, 1).replace(b"head ", b"head 0"), -1)
    (whole / "checkpoint.next").write_bytes(forged if note is None else note)

    assert found(whole) == (True, True)
    with pytest.raises(AuditError, match="no checkpoint covers entry"):
        append(whole)


NO_CHECKPOINT_OF_ONES_OWN = {
    **NO_CHECKPOINT,
    "no signature": b"x\n0\ny",
    "no root": b"%b\n2\nzzz",
    "no text in a root": b"x\n1\n\xff\n\n",
    "no entries": b"%b\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\xe2\x80\x94 z AAAAAAAA\n",
}


@pytest.mark.parametrize("note", NO_CHECKPOINT_OF_ONES_OWN.values(), ids=NO_CHECKPOINT_OF_ONES_OWN)
def test_what_is_no_checkpoint_in_the_checkpoints_place_is_told_beside_a_good_one_in_advance(
    whole: Path, note: bytes
) -> None:
    crashed(whole)
    assert found(whole) == (False, False)

    (whole / "checkpoint").write_bytes(note.replace(b"%b", read_index(StateFiles(whole)).origin.encode()))

    assert found(whole) == (True, True)
    with pytest.raises(AuditError):
        append(whole)


def test_the_one_signed_in_advance_covers_one_line_more_and_no_more(whole: Path) -> None:
    """Also where there is no checkpoint: that is one over no line."""
    older = (whole / "checkpoint").read_bytes()
    append(whole)
    crashed(whole)
    between = (whole / "checkpoint").read_bytes()
    for note in (older, None):
        (whole / "checkpoint").unlink()
        if note is not None:
            (whole / "checkpoint").write_bytes(note)

        assert found(whole) == (True, True)
        with pytest.raises(AuditError):
            append(whole)
        (whole / "checkpoint").write_bytes(between)

    assert found(whole) == (False, False)
    append(whole)


@pytest.mark.parametrize("how", ["another key", "another root"])
def test_the_older_checkpoint_beside_one_in_advance_is_held_to_the_log_too(whole: Path, how: str) -> None:
    crashed(whole)
    body = (whole / "checkpoint").read_text().rpartition("\n\n")[0]
    key = host_key(StateFiles(whole))
    if how == "another key":
        forged = sign(f"{body}\n", [SignerKey.make(key.name, b"s" * 32)])
    else:
        origin, size, _, *rest = body.split("\n")
        forged = sign("\n".join([origin, size, "A" * 43 + "=", *rest, ""]), [key])
    assert found(whole) == (False, False)

    (whole / "checkpoint").write_text(forged)

    assert found(whole) == (True, True)
    with pytest.raises(AuditError):
        append(whole)


def test_the_first_line_of_a_log_has_no_checkpoint_before_it(tmp_path: Path) -> None:
    with HostLog(tmp_path / "first"):
        pass
    (tmp_path / "first" / "checkpoint").rename(tmp_path / "first" / "checkpoint.next")

    assert found(tmp_path / "first") == (False, False)
    append(tmp_path / "first")
    assert found(tmp_path / "first") == (False, False)


@pytest.mark.parametrize("torn", [b"", b'{"seq":0,"prev'])
def test_a_log_whose_maker_was_killed_before_its_first_line_is_none_yet(tmp_path: Path, torn: bytes) -> None:
    """A machine's very first session, killed at its first sync, is no forgery; the next begins the log."""
    state = tmp_path / "first"
    with HostLog(state):
        pass
    (state / "checkpoint").rename(state / "checkpoint.next")
    (state / "ledger.jsonl").write_bytes(torn)

    assert read_index(StateFiles(state)).broken is None
    append(state)
    assert found(state) == (False, False)


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("sessions", [False, True])
def test_a_log_that_was_emptied_is_not_taken_for_none_yet(
    whole: Path, *, announced: bool, sessions: bool
) -> None:
    """The twin: a session's first line is written after the host's, and who begins one announces one line."""
    (whole / "ledger.jsonl").write_bytes(b"")
    (whole / "checkpoint").rename(whole / "checkpoint.next")
    if not announced:
        (whole / "checkpoint.next").unlink()
    if not sessions:
        shutil.rmtree(whole / "sessions")

    told = announced or sessions
    assert (read_index(StateFiles(whole)).broken is not None) == told
    assert any(each.faults() for each in verify_all(whole)) == told
    assert single_file_finds(whole, (whole / "host.vkey").read_text().strip())


def test_a_torn_line_that_nobody_announced_is_told(tmp_path: Path) -> None:
    """The twin: a writer signs before it writes, so such a line is nobody's."""
    state = tmp_path / "first"
    with HostLog(state):
        pass
    (state / "checkpoint").unlink()
    (state / "ledger.jsonl").write_bytes(b'{"seq":0,"prev')

    assert read_index(StateFiles(state)).broken is not None
    with pytest.raises(AuditError):
        append(state)


def test_a_log_that_was_cut_is_told_also_where_an_older_checkpoint_stands_beside_the_newest(
    whole: Path,
) -> None:
    """Who kept an older one may put it there: the newest still says how long the log was."""
    older, log = (whole / "checkpoint").read_bytes(), (whole / "ledger.jsonl").read_bytes()
    append(whole)
    assert found(whole) == (False, False)

    (whole / "ledger.jsonl").write_bytes(log)
    (whole / "checkpoint.next").write_bytes(older)

    assert found(whole) == (True, True)
    with pytest.raises(AuditError, match="its checkpoint covers"):
        append(whole)


@pytest.mark.parametrize("how", ["link", "folder"])
def test_what_is_no_file_is_no_leftover(whole: Path, how: str) -> None:
    if how == "link":
        (whole / "checkpoint.next").symlink_to("checkpoint")
    else:
        (whole / "checkpoint.next").mkdir()

    assert found(whole) == (True, True)


def test_after_a_crash_amid_a_rotation_the_new_key_covers_the_log(whole: Path) -> None:
    """The checkpoint is by the old key still, the one in advance by both."""
    files = StateFiles(whole)
    before, old = (whole / "checkpoint").read_bytes(), files.host_key.read_bytes()
    with HostLog(whole) as host:
        fresh = host.rotate()
    (whole / "checkpoint").rename(whole / "checkpoint.next")
    (whole / "checkpoint").write_bytes(before)
    files.host_key.write_bytes(old)
    files.next_host_key.write_text(f"{fresh.secret_text()}\n")
    files.next_host_key.chmod(0o600)

    assert read_index(files).broken is None
    assert not single_file_finds(whole, str(fresh.verifier))
    append(whole)
    assert host_key(files) == fresh
    assert found(whole) == (False, False)


@pytest.mark.parametrize("note", NO_CHECKPOINT.values(), ids=NO_CHECKPOINT)
def test_a_rotation_cut_short_before_its_line_is_forgotten_whatever_was_left_behind(
    whole: Path, note: bytes
) -> None:
    before = host_key(StateFiles(whole))
    fresh = prepare_rotation(StateFiles(whole))
    (whole / "checkpoint.next").write_bytes(note or sign("x\n1\ny\n", [fresh]).encode())

    append(whole)

    assert host_key(StateFiles(whole)) == before
    assert found(whole) == (False, False)


@pytest.mark.parametrize(
    ("damage", "why"),
    [(b"garbage", "not a signed note"), (None, "nothing signs it")],
    ids=["garbage", "missing"],
)
def test_a_key_that_may_be_in_force_is_not_thrown_away_for_a_damaged_checkpoint(
    whole: Path, damage: bytes | None, why: str
) -> None:
    files = StateFiles(whole)
    prepare_rotation(files)
    good = files.checkpoint.read_bytes()
    if damage is None:
        files.checkpoint.unlink()
    else:
        files.checkpoint.write_bytes(damage)

    with pytest.raises(AuditError, match=why):
        append(whole)

    assert files.next_host_key.exists()
    files.checkpoint.write_bytes(good)
    append(whole)
    assert not files.next_host_key.exists()


def test_an_empty_log_is_told_whatever_is_signed(whole: Path) -> None:
    key = host_key(StateFiles(whole))
    chain = Chain.start(f"pairlock/host/{key.name}")
    (whole / "checkpoint").write_text(sign(chain.checkpoint(f"pairlock/host/{key.name}").text(), [key]))

    (whole / "ledger.jsonl").write_bytes(b"")

    assert found(whole) == (True, True)
