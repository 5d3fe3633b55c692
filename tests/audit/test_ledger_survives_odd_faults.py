"""Faults that few think of: a limit on files, no inodes left, a writer that is stopped, a key gone."""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audit.errors import AuditError, LedgerDeadError, LedgerError, LedgerFullError, LedgerLockedError
from audit.host import HostLog
from audit.host_event import PolicyTrusted
from audit.index import read_index
from audit.journal import Journal, Registration
from audit.keys import host_key
from audit.state import StateFiles
from audit.verdict import Closed, Open
from audit.verify import verify_all, verify_session
from tests.audit.samples import SESSION, Recorder, Samples
from tests.audit.test_ledger_survives_faults import (
    MODULE,
    ROOT,
    check_acknowledged,
    closed_after,
    finished,
    linux_as_root,
    run,
    session_leaves,
    small_disk,
    start,
)

MOST_BYTES = 20_000
TRUSTED = PolicyTrusted(origin="p", digest="0" * 64, by="a test")


def test_a_limit_on_the_size_of_files_ends_the_session_and_loses_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE gives a short write and then EFBIG: both are what a full disk is."""
    state = tmp_path / "state"
    limited = (
        f"import resource, runpy, sys; resource.setrlimit({resource.RLIMIT_FSIZE}, ({MOST_BYTES},) * 2); "
    )
    child = subprocess.Popen(
        [
            *(sys.executable, "-c", f"{limited}runpy.run_module('{MODULE}', run_name='__main__')"),
            *("new", str(state), SESSION),
        ],
        bufsize=0,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    acknowledged, said = finished(child)

    assert child.returncode == 6
    assert "Traceback" not in said
    assert acknowledged
    check_acknowledged(acknowledged, session_leaves(state))
    assert asyncio.run(closed_after(state)) == Closed()
    assert [one.log for one in verify_all(state) if one.faults()] == []


@linux_as_root
async def test_without_inodes_nothing_more_is_done_and_the_end_is_still_written(
    tmp_path: Path, samples: Samples
) -> None:
    """Room for bytes is no room for names: a large body needs a file of its own."""
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        run("mount", "-o", "remount,nr_inodes=60", str(disk))
        state = disk / "state"
        async with Journal.create(state, SESSION, registration=Registration(grant="files")) as journal:
            await journal.record(samples.intended(0))
            use_up_inodes(disk)
            with pytest.raises(LedgerFullError):
                await journal.record(samples.finished(0, journal.commit("x" * 20_000)))
            with pytest.raises(LedgerDeadError):
                await journal.record(samples.intended(1))
            await journal.close(samples.closed())

        found = verify_session(state, SESSION)
        assert found.faults() == {}
        assert found.completeness == Closed(told=False)


def use_up_inodes(folder: Path) -> None:
    for number in range(1000):
        try:
            (folder / f"filler{number}").touch()
        except OSError:
            return
    raise AssertionError("there is no end of inodes")


def test_a_writer_that_is_stopped_for_a_while_is_still_the_only_one(tmp_path: Path) -> None:
    """Nobody takes its place, whoever looks sees an open session that verifies, and it goes on afterwards."""
    state = tmp_path / "state"
    child = start("new", str(state), SESSION)
    assert child.stdout is not None
    child.stdout.readline()
    for _ in range(20):
        child.stdout.readline()
    try:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)

        with pytest.raises(LedgerLockedError):
            asyncio.run(closed_after(state))
        stopped = verify_session(state, SESSION)
        assert stopped.faults() == {}
        assert stopped.completeness == Open()

        child.send_signal(signal.SIGCONT)
        for _ in range(20):
            assert child.stdout.readline()
    finally:
        child.kill()
    check_acknowledged(finished(child)[0], session_leaves(state))
    assert asyncio.run(closed_after(state)) == Closed()


@pytest.mark.parametrize("what", ["gone", "open to others", "another key", "no key"])
async def test_a_host_key_that_cannot_be_used_ends_the_session(
    recorder: Recorder, state: Path, samples: Samples, what: str
) -> None:
    """What cannot be told to the host's log is not done: the journal fails, and says why."""
    async with recorder.journal() as journal:
        spoil(state / "host.key", what)
        for number in range(64):
            try:
                await journal.record(samples.intended(number))
            except LedgerError:
                break
        assert isinstance(await asyncio.wait_for(asyncio.shield(journal.failed), 30), LedgerError)
        with pytest.raises(LedgerError):
            await journal.record(samples.intended(100))

    found = verify_session(state, SESSION)
    assert "integrity" not in found.faults()


def spoil(path: Path, what: str) -> None:
    match what:
        case "gone":
            path.unlink()
        case "open to others":
            path.chmod(0o644)
        case "another key":
            with HostLog(path.parent.parent / "elsewhere"):
                shutil.copy(path.parent.parent / "elsewhere" / path.name, path)
        case _:
            path.write_text("no key\n")


def test_a_rotation_whose_new_key_cannot_be_written_leaves_the_old_in_force(state: Path) -> None:
    with HostLog(state) as host:
        before = host_key(StateFiles(state))
        (state / "host.key.next").mkdir()
        with pytest.raises(AuditError):
            host.rotate()
        (state / "host.key.next").rmdir()
        host.append(TRUSTED)

    index = read_index(StateFiles(state))
    assert index.broken is None
    assert index.keys == [before.verifier]
    assert host_key(StateFiles(state)) == before


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint.next"])
def test_a_folder_in_the_place_of_a_checkpoint_is_told_and_nothing_is_signed(state: Path, name: str) -> None:
    with HostLog(state) as host:
        host.append(TRUSTED)
    lines = (state / "ledger.jsonl").read_bytes()
    (state / name).unlink(missing_ok=True)
    (state / name).mkdir()

    with pytest.raises(AuditError, match="not a regular file"), HostLog(state) as host:
        host.append(TRUSTED)

    assert (state / "ledger.jsonl").read_bytes() == lines
