"""What is deleted on purpose is told from what was made away with, and is gone."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.listing import listed
from audit.errors import AuditError, BrokenLedgerError, LedgerLockedError, UnknownSessionError
from audit.event import ActionFinished
from audit.fields import FileUse
from audit.follow import Follower
from audit.host import HostLog
from audit.host_event import SessionRegistered
from audit.index import read_index
from audit.note import SignerKey
from audit.openings import without
from audit.reader import SessionReader
from audit.state import SessionFiles, StateFiles
from audit.verdict import Closed, Disclosed, Intact, Pruned, Undisclosed
from audit.verify import verify_session
from audit.withhold import prune, redact
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples
from tests.audit.unpacked import OTHER, key_of, pack, unpack, verify_state, verify_there


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

    without(session, {digest})

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
    before, size = len(session.segments()), read_index(StateFiles(state)).session(SESSION).size

    with HostLog(state) as host:
        gone = prune(host, SESSION, why="older than a year", keep_segments=1)

    assert (before > 2, len(session.segments()), gone > 0) == (True, 1, True)
    found = verify_session(state, SESSION)
    assert found.faults() == {}
    assert str(found.integrity) == f"ok: {size} entries, the first {gone} of them deleted on purpose"
    assert found.completeness == Closed()
    assert SessionReader(state, SESSION).openings.digests()
    pack(state, tmp_path / "b.tar.gz")
    code, told = verify_there(unpack(tmp_path / "b.tar.gz", tmp_path), "--key", str(key_of(state)))
    sealed = f"{size} sealed, closed"
    assert (code, told.splitlines()[1]) == (0, f"{SESSION}: {found.integrity}, {sealed}")
    attacker.write_lines(
        session.segments()[0][1],
        [attacker.edited(line) for line in attacker.read_lines(session.segments()[0][1])][:-1],
    )
    assert verify_session(state, SESSION).faults() != {}


async def test_a_prune_is_told_as_later_than_a_checkpoint_or_not(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """What the checkpoint covered was there when it was made: a reader may ask where it went."""
    await segmented(recorder, samples)
    files = StateFiles(state)
    before = files.checkpoint.read_text()

    with HostLog(state) as host:
        prune(host, SESSION, why="older than a year", keep_segments=1)

    after = files.checkpoint.read_text()
    words = [str(verify_session(state, SESSION, against=note).freshness) for note in (before, after)]
    assert [said.partition("elsewhere")[2] for said in words] == ["; pruned after that checkpoint", ""]
    assert verify_session(state, SESSION, against=before).faults() == {}


async def test_a_session_pruned_whole_is_told_from_one_that_was_deleted(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    await segmented(recorder, samples)

    with HostLog(state) as host:
        gone = prune(host, SESSION, why="no longer needed")

    found = verify_session(state, SESSION)
    assert found.completeness == Pruned(gone)
    assert found.integrity == Intact(0, 0)
    assert found.disclosure == Disclosed(0, 0, 0)
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


async def wide(recorder: Recorder, samples: Samples) -> str:
    """Write a session in several files; return a commitment within a body that was moved out of the first."""
    async with recorder.journal(segment_bytes=20_000) as journal:
        shown = journal.commit("what the model was shown")
        files = tuple(FileUse(path=f"{number}/" + "x" * 90, access="read") for number in range(400))
        await journal.record(
            ActionFinished(
                action=f"{SESSION}/1",
                outcome="ok",
                exit_code=0,
                duration_ms=1,
                output_bytes=0,
                files=files,
                body=shown,
            )
        )
        for number in range(2, 200):
            await journal.record(samples.finished(number, journal.commit(f"body {number}")))
        await journal.close(samples.closed())
    return shown.digest


async def test_what_a_moved_out_body_commits_to_is_pruned_with_it(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """A body too long for its line lies elsewhere; what only it names goes when it goes."""
    shown = await wide(recorder, samples)
    assert shown in SessionReader(state, SESSION).openings

    with HostLog(state) as host:
        prune(host, SESSION, why="old", keep_segments=1)

    reader = SessionReader(state, SESSION)
    assert shown not in reader.openings
    assert list((state / "sessions" / SESSION / "blobs").iterdir()) == []
    found = verify_session(state, SESSION)
    assert found.faults() == {}
    assert isinstance(found.disclosure, Disclosed)
    assert found.disclosure.opened == len(reader.openings.digests()) > 0


async def test_nothing_is_recorded_as_pruned_that_verifiers_would_refuse(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    """A session of which the host's log holds no key, and one that has no line yet."""
    await recorder.whole(actions=3)
    stranger, empty = StateFiles(state).session(OTHER), StateFiles(state).session("yyyyyyyyyyyy")
    await Recorder(tmp_path / "elsewhere").whole(OTHER, actions=3)
    shutil.copytree(tmp_path / "elsewhere" / "sessions" / OTHER, stranger.folder)
    empty.folder.mkdir()
    empty.events.touch()
    key = SignerKey.make("pairlock/session/yyyyyyyyyyyy/1", b"y" * 32).verifier
    fields = {"epoch": 1, "vkey": str(key), "grant": "none", "workspace": None, "owner_uid": 0}

    with HostLog(state) as host:
        host.append(SessionRegistered(session="yyyyyyyyyyyy", **fields))
        with pytest.raises(BrokenLedgerError, match="holds no key"):
            prune(host, OTHER, why="old")
        gone = prune(host, "yyyyyyyyyyyy", why="old")

    index = read_index(StateFiles(state))
    assert (gone, index.broken, stranger.events.exists(), empty.events.exists()) == (0, None, True, True)
    assert index.session("yyyyyyyyyyyy").pruned is None


@pytest.mark.parametrize("keep", [2, 50])
async def test_to_keep_as_many_files_as_there_are_or_more_prunes_nothing(
    recorder: Recorder, state: Path, keep: int
) -> None:
    await recorder.whole(actions=30)

    with HostLog(state) as host:
        gone = prune(host, SESSION, why="a try", keep_segments=keep)

    assert (gone, read_index(StateFiles(state)).session(SESSION).pruned) == (0, None)
    assert verify_session(state, SESSION).completeness == Closed()


async def test_a_session_pruned_whole_is_listed_and_spoken_of_as_pruned(
    recorder: Recorder, state: Path, tmp_path: Path
) -> None:
    """Only a session that is gone without a record is missing."""
    await recorder.whole(actions=30)
    await recorder.whole(OTHER, actions=3)
    with HostLog(state) as host:
        gone = prune(host, SESSION, why="old")
        said = f"session `{SESSION}` was pruned: its {gone} entries were deleted on purpose"
        with pytest.raises(UnknownSessionError) as redacting:
            redact(host, SESSION, "0" * 64, by="me", why="a try")
        assert prune(host, SESSION, why="again") == gone
    with pytest.raises(UnknownSessionError) as reading:
        SessionReader(state, SESSION)
    with pytest.raises(UnknownSessionError) as following:
        Follower(state, SESSION)
    with pytest.raises(UnknownSessionError) as packing:
        pack(state, tmp_path / "b.tar.gz")
    (state / "sessions" / OTHER / "events.jsonl").unlink()

    refused = (redacting, reading, following, packing)
    assert {str(error.value).split("; hint: ")[0] for error in refused} == {said}
    assert [row.status for row in listed(state)] == ["pruned", "missing"]


async def killed_while_pruning(
    recorder: Recorder, state: Path, samples: Samples, *, after: int
) -> SessionFiles:
    """Prune, and put back what a kill leaves: all files but the first so many; bodies when none is gone."""
    await wide(recorder, samples)
    session = StateFiles(state).session(SESSION)
    before = {path: path.read_bytes() for _, path in session.segments()}
    bodies = {path: path.read_bytes() for path in (session.openings, *session.blobs.iterdir())}
    with HostLog(state) as host:
        prune(host, SESSION, why="old", keep_segments=1)
    gone = [path for path in before if not path.exists()]
    assert len(gone) > 2
    restored = {path: before[path] for path in gone[after:]} | ({} if after else bodies)
    for path, content in restored.items():
        path.write_bytes(content)
    return session


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_prune_that_was_killed_leaves_a_session_that_verifies_and_is_finished_by_the_next(
    recorder: Recorder, state: Path, samples: Samples, tmp_path: Path, after: int
) -> None:
    """What the host's log records as gone is gone, whether or not its files still lie there."""
    session = await killed_while_pruning(recorder, state, samples, after=after)
    first = next(SessionReader(state, SESSION).entries())

    told = verify_session(state, SESSION)
    assert told.faults() == {}
    code, said = verify_state(state)
    assert (code, f"{SESSION}: {told.integrity}, " in said) == (0, True)
    assert Follower(state, SESSION).poll()[0] == first
    pack(state, tmp_path / "b.tar.gz")
    assert verify_there(unpack(tmp_path / "b.tar.gz", tmp_path), "--key", str(key_of(state)))[0] == 0
    with HostLog(state) as host:
        prune(host, SESSION, why="to finish", keep_segments=1)
    assert len(session.segments()) == 1
    found = verify_session(state, SESSION)
    assert (found.faults(), found.completeness) == ({}, Closed())
    assert isinstance(found.disclosure, Disclosed)
    assert found.disclosure.opened == len(SessionReader(state, SESSION).openings.digests())


def garbage(session: SessionFiles) -> None:
    path = session.segments()[0][1]
    attacker.write_lines(
        path, [*attacker.read_lines(path)[:1], b"garbage", b"[]", b'{"body":[]}', b'{"body":']
    )


def a_line_without_an_end(session: SessionFiles) -> None:
    path = session.segments()[0][1]
    path.write_bytes(path.read_bytes() + b"x" * 100_000)


def a_changed_body(session: SessionFiles) -> None:
    for blob in session.blobs.iterdir():
        blob.write_bytes(gzip.compress(b"another body"))


@pytest.mark.parametrize("attack", [garbage, a_line_without_an_end, a_changed_body])
async def test_nothing_in_what_a_killed_prune_has_left_keeps_the_next_from_its_end(
    recorder: Recorder, state: Path, samples: Samples, attack: Callable[[SessionFiles], None]
) -> None:
    session = await killed_while_pruning(recorder, state, samples, after=0)

    attack(session)

    with HostLog(state) as host:
        prune(host, SESSION, why="to finish", keep_segments=1)
    assert len(session.segments()) == 1
    assert verify_session(state, SESSION).faults() == {}


async def test_a_prune_is_not_finished_where_what_stays_is_no_log(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """What it names could not be told from what nothing names any more."""
    session = await killed_while_pruning(recorder, state, samples, after=0)
    path = session.segments()[-1][1]
    attacker.write_lines(path, [*attacker.read_lines(path)[:1], b"garbage"])
    before = attacker.fingerprint(session.folder)

    with HostLog(state) as host, pytest.raises(BrokenLedgerError, match="is not JSON"):
        prune(host, SESSION, why="to finish", keep_segments=1)

    assert attacker.fingerprint(session.folder) == before


async def test_a_whole_session_of_which_a_killed_prune_left_a_file_is_gone_for_every_verifier(
    recorder: Recorder, state: Path
) -> None:
    log = await recorder.whole(actions=30)
    before = log.read_bytes()

    with HostLog(state) as host:
        gone = prune(host, SESSION, why="old")
    log.write_bytes(before)

    assert verify_session(state, SESSION).completeness == Pruned(gone)
    code, said = verify_state(state)
    assert (code, said.splitlines()[1]) == (0, f"{SESSION}: pruned on purpose")


async def test_a_large_body_whose_line_is_gone_goes_with_the_next_prune(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    session = await killed_while_pruning(recorder, state, samples, after=1)
    left = session.blobs / f"{'ab' * 32}.gz"
    left.write_bytes(b"what a kill between the line and the file leaves")

    with HostLog(state) as host:
        prune(host, SESSION, why="to finish", keep_segments=1)

    assert not left.exists()


async def test_no_file_hides_by_beginning_where_the_pruned_part_was(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """Who makes the kept part look pruned has deleted it, and is told so."""
    await killed_while_pruning(recorder, state, samples, after=1)
    session = StateFiles(state).session(SESSION)
    path = session.segments()[-1][1]
    lines = attacker.read_lines(path)

    attacker.write_lines(path, [b'{"seq":0,' + lines[0].split(b",", 1)[1], *lines[1:]])

    assert verify_session(state, SESSION).faults().keys() == {"completeness"}
