"""Who holds the host's log and does not go on keeps nobody waiting for ever, and is named."""

import fcntl
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from audit import lock
from audit.errors import LedgerDeadError, LedgerLockedError
from audit.holders import holders_of, is_stopped
from audit.host import HostLog
from audit.host_event import PolicyTrusted
from audit.index import read_index
from audit.lock import held_alone, held_still
from audit.state import StateFiles
from audit.verify import verify_all
from tests.holding import holding

ROOT = Path(__file__).parents[2]
TRUSTED = PolicyTrusted(origin="p", digest="0" * 64, by="a test")
HOLD = "import sys; from pathlib import Path; from audit import lock; \
context = lock.{way}(Path(sys.argv[1])); context.__enter__(); print('held', flush=True); sys.stdin.read()"
SOON_SECONDS = 0.5


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with HostLog(tmp_path / "state") as host:
        host.append(TRUSTED)
    return tmp_path / "state"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", SOON_SECONDS)


def holder(state: Path, *, way: str = "held_alone", stop: bool = False) -> AbstractContextManager[int]:
    """Give the process that holds the host's log, stopped or not."""
    return holding("-c", HOLD.format(way=way), str(state / "ledger.lock"), stop=stop, folder=ROOT)


def append(state: Path) -> None:
    with HostLog(state) as host:
        host.append(TRUSTED)


def names_disks_as_stat_does(path: Path) -> bool:
    """Tell whether the kernel's list of locks names this file's disk as stat(2) does."""
    with held_alone(path):
        return holders_of(path.stat()) == [os.getpid()]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("way", ["held_alone", "held_still"])
def test_who_appends_does_not_wait_for_ever_for_one_that_is_stopped(state: Path, way: str) -> None:
    """It is told who holds the log, that it is stopped, and what lets it go on; nothing is appended."""
    named = names_disks_as_stat_does(state / "ledger.lock")
    before = (state / "ledger.jsonl").read_bytes()

    with holder(state, way=way, stop=True) as pid:
        with pytest.raises(LedgerLockedError) as refusal:
            append(state)

        who = f"process {pid}, which is stopped; hint: let it go on with `kill -CONT {pid}`, or end it"
        if not named:
            who = "another process; hint: let it finish, or end it"
        said = re.sub(r" for \d+ s ", " for N s ", str(refusal.value))
        assert said == f"`ledger.lock` has been held for N s by {who}"
        assert (state / "ledger.jsonl").read_bytes() == before

    append(state)
    assert read_index(StateFiles(state)).broken is None


@pytest.mark.usefixtures("impatient")
def test_a_log_that_is_kept_from_readers_is_not_called_broken(state: Path) -> None:
    """That nothing could be read says nothing about what is there."""
    with holder(state, stop=True):
        for look in READING:
            with pytest.raises(LedgerLockedError):
                look(state)

    for look in READING:
        look(state)


READING: tuple[Callable[[Path], object], ...] = (
    lambda state: read_index(StateFiles(state)),
    lambda state: list(verify_all(state)),
)


@pytest.mark.usefixtures("impatient")
def test_readers_do_not_keep_readers_out(state: Path) -> None:
    with holder(state, way="held_still", stop=True):
        assert read_index(StateFiles(state)).size == 2


def test_one_that_lets_go_in_time_costs_the_others_no_more_than_the_wait(state: Path) -> None:
    with holder(state, stop=True) as pid:
        ends = threading.Timer(SOON_SECONDS, end, [pid])
        ends.start()

        append(state)

        ends.join()
    assert read_index(StateFiles(state)).size == 3


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_the_same_log_goes_on_after_it_was_refused(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that comes too late is let go of again, and keeps nobody out."""
    with HostLog(state) as host:
        with holder(state):
            monkeypatch.setattr(lock, "PATIENCE_SECONDS", SOON_SECONDS)
            with pytest.raises(LedgerLockedError):
                host.append(TRUSTED)
            monkeypatch.undo()

        host.append(TRUSTED)
        append(state)

    until_free(state / "ledger.lock")
    assert read_index(StateFiles(state)).size == 4


def until_free(path: Path) -> None:
    """Return once nobody holds a lock."""
    for _ in range(600):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError("it is still held")


@pytest.mark.usefixtures("impatient")
def test_waiting_in_vain_leaves_no_file_open(state: Path) -> None:
    threads, before = threading.active_count(), open_files()

    with holder(state, stop=True):
        for _ in range(3):
            with pytest.raises(LedgerLockedError), held_still(state / "ledger.lock"):
                pass

    for _ in range(600):
        if threading.active_count() == threads:
            break
        time.sleep(0.05)
    assert open_files() == before


def open_files() -> list[str]:
    """Return where this process's descriptors lead, as far as they are files of a state folder."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return sorted(name for name in found if "ledger.lock" in name)


def test_a_log_that_was_closed_takes_nothing(state: Path) -> None:
    host = HostLog(state)
    host.close()

    with pytest.raises(LedgerDeadError, match="the host's log is closed"):
        host.append(TRUSTED)


def test_what_is_no_process_is_not_stopped() -> None:
    assert not is_stopped(2**22 + 1)
    assert not is_stopped(os.getpid())
