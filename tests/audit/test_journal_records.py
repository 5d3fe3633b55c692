"""The journal writes what it is told, in order, durably, and what it wrote verifies."""

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from audit.errors import (
    LedgerDeadError,
    LedgerLockedError,
    LedgerLostError,
    SessionExistsError,
    UnknownSessionError,
)
from audit.index import read_index
from audit.journal import Journal
from audit.state import StateFiles
from audit.verdict import Closed, Crashed, Intact, SelfClaimed
from audit.verify import verify_session
from tests.audit.samples import SECRET, SESSION, Recorder, Samples


def lines_of(state: Path) -> list[dict[str, object]]:
    text = (state / "sessions" / SESSION / "events.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def contents(folder: Path) -> list[bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    raws = [(path.suffix, path.read_bytes()) for path in files]
    return [gzip.decompress(raw) if suffix == ".gz" else raw for suffix, raw in raws]


def modes_of(folder: Path, *, folders: bool) -> set[int]:
    found = [path for path in [folder, *folder.rglob("*")] if path.is_dir() is folders]
    return {path.stat().st_mode & 0o777 for path in found}


async def test_a_whole_session_verifies_and_is_closed(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=50)

    found = verify_session(state, SESSION)

    assert found.faults() == {}
    assert isinstance(found.integrity, Intact)
    assert found.completeness == Closed()
    assert isinstance(found.authenticity, SelfClaimed)


async def test_a_receipt_names_the_place_and_leaf_of_the_line(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        receipts = [await journal.record(samples.intended(number)) for number in range(3)]

    lines = (state / "sessions" / SESSION / "events.jsonl").read_bytes().splitlines()
    from audit.chain import leaf_hash

    assert [receipt.leaf for receipt in receipts] == [leaf_hash(lines[receipt.seq]) for receipt in receipts]


async def test_what_is_recorded_at_once_keeps_the_order_of_the_calls(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        await asyncio.gather(*(journal.record(samples.intended(number)) for number in range(500)))

    actions = [line["body"]["action"] for line in lines_of(state) if line["type"] == "action.intended"]
    assert actions == [f"{SESSION}/{number}" for number in range(500)]
    assert verify_session(state, SESSION).faults() == {}


async def test_a_lazy_entry_is_on_disk_soon_and_before_the_next_sync_one(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        await journal.record_lazily(samples.intended(0))
        for _ in range(200):
            await asyncio.sleep(0.05)
            if len(lines_of(state)) == 2:
                break
        assert [line["type"] for line in lines_of(state)] == ["log.opened", "action.intended"]

        await journal.record_lazily(samples.intended(1))
        await journal.record(samples.intended(2))
        assert [line["seq"] for line in lines_of(state)] == [0, 1, 2, 3]


async def test_a_secret_never_reaches_a_file_of_the_state(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal(secrets_by_name={"github": SECRET}) as journal:
        body = journal.commit(f"token={SECRET}" + "x" * 20_000)
        await journal.record(samples.intended(0, text=f"--header={SECRET}"))
        await journal.record(samples.finished(0, body))

    assert all(SECRET.encode() not in raw for raw in contents(state))
    argv = lines_of(state)[1]["body"]["argv"]
    assert argv[2].startswith("--header=[secret:github:")


async def test_a_body_too_long_for_its_line_is_moved_out_and_still_verifies(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.intended(0, text="x" * 100_000))

    assert list(lines_of(state)[1]["body"]) == ["overflow"]
    assert verify_session(state, SESSION).faults() == {}


async def test_a_second_writer_is_refused(recorder: Recorder, state: Path) -> None:
    async with recorder.journal():
        with pytest.raises(LedgerLockedError):
            async with Journal.reopen(state, SESSION):
                pass


async def test_a_session_cannot_be_created_twice(recorder: Recorder) -> None:
    async with recorder.journal():
        pass

    with pytest.raises(SessionExistsError):
        async with recorder.journal():
            pass


async def test_an_id_cannot_lead_out_of_the_state_folder(recorder: Recorder) -> None:
    with pytest.raises(UnknownSessionError):
        async with recorder.journal("../../../x"):
            pass


@pytest.mark.parametrize("how", ["unlinked", "replaced", "moved", "appended"])
async def test_a_log_that_is_not_where_it_was_is_dead(
    recorder: Recorder, state: Path, samples: Samples, how: str
) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.intended(0))
        path = state / "sessions" / SESSION / "events.jsonl"
        match how:
            case "unlinked":
                path.unlink()
            case "replaced":
                other = path.with_name("other")
                other.write_bytes(path.read_bytes())
                other.rename(path)
            case "moved":
                path.rename(path.with_name("elsewhere"))
            case "appended":
                with path.open("ab") as file:
                    file.write(b"{}\n")

        with pytest.raises(LedgerLostError):
            await journal.record(samples.intended(1))
        error = await asyncio.wait_for(journal.failed, 20)
        with pytest.raises(LedgerDeadError):
            await journal.record(samples.intended(2))

    assert isinstance(error, LedgerLostError)


async def test_a_torn_tail_is_cut_and_the_session_goes_on_with_a_new_key(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    await recorder.whole(actions=10, close=False)
    path = state / "sessions" / SESSION / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"seq":22,"prev":"torn')

    assert verify_session(state, SESSION).completeness == Crashed(22)
    async with Journal.reopen(state, SESSION) as journal:
        assert journal.recovered is not None
        assert journal.recovered.torn.size == 22
        await journal.record(samples.intended(99))
        await journal.close(samples.closed())

    found = verify_session(state, SESSION)
    assert found.faults() == {}
    assert found.completeness == Closed()


async def test_the_log_is_cut_into_segments_that_verify_as_one(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal(segment_bytes=20_000) as journal:
        for number in range(300):
            await journal.record(samples.intended(number))
        await journal.close(samples.closed())

    assert (state / "sessions" / SESSION / "events.jsonl.2").exists()
    assert verify_session(state, SESSION).faults() == {}
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(samples.intended(1))
    assert verify_session(state, SESSION).faults() == {}


async def test_time_in_the_ledger_is_counted(recorder: Recorder, samples: Samples) -> None:
    async with recorder.journal() as journal:
        assert journal.spent_ms == 0
        for number in range(200):
            await journal.record(samples.intended(number))

        assert journal.spent_ms > 0


async def test_files_are_private_to_their_owner(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=3)

    assert modes_of(state, folders=True) == {0o700}
    assert modes_of(state, folders=False) == {0o600}


def test_importing_the_journal_opens_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import audit.journal, os; print(os.listdir('.'))"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"


async def test_behind_the_recorded_end_nothing_more_is_taken(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        await journal.close(samples.closed())
        with pytest.raises(LedgerDeadError):
            await journal.record(samples.intended(1))
        with pytest.raises(LedgerDeadError):
            await journal.record_lazily(samples.intended(1))

    assert verify_session(state, SESSION).completeness == Closed()


async def test_many_lazy_entries_wait_for_the_disk_now_and_then(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        for number in range(2500):
            await journal.record_lazily(samples.intended(number))
            if number == 1023:
                assert len(lines_of(state)) >= 1024

    assert len([line for line in lines_of(state) if line["type"] == "action.intended"]) == 2500


async def test_a_cancelled_caller_leaves_the_entry_and_the_journal_whole(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        task = asyncio.create_task(journal.record(samples.intended(0)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await journal.record(samples.intended(1))

    assert [line["body"]["action"] for line in lines_of(state)[1:3]] == [f"{SESSION}/0", f"{SESSION}/1"]


async def test_a_session_is_registered_before_it_is_entered_and_sealed_when_it_is_left(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    files = StateFiles(state)
    async with recorder.journal() as journal:
        assert read_index(files).session(SESSION).registered is not None
        await journal.record(samples.intended(0))

    record = read_index(files).session(SESSION)
    assert (record.size, record.closed_at_size) == (3, None)


async def test_a_quiet_session_is_sealed_all_the_same(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """After at most 5 seconds what was recorded is sealed, in the file and in the host's log."""
    async with recorder.journal() as journal:
        await journal.record(samples.intended(0))
        for _ in range(300):
            await asyncio.sleep(0.1)
            if read_index(StateFiles(state)).session(SESSION).size == 3:
                break

        assert [line["type"] for line in lines_of(state)][-1] == "log.sealed"
        assert read_index(StateFiles(state)).session(SESSION).size == 3
