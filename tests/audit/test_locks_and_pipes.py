"""Who looks at a ledger neither waits for a pipe in a file's place nor keeps its writer out."""

import errno
import fcntl
import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from audit import standalone
from audit.bundle import write_bundle
from audit.errors import AuditError, BrokenLedgerError, LedgerError, LedgerLockedError
from audit.host import HostLog
from audit.index import read_index
from audit.keys import host_vkey, pin, redaction_key
from audit.lock import WriterLock, held_alone, held_still, is_held, take
from audit.proof import prove
from audit.state import StateFiles
from audit.verify import verify_session
from tests.audit.samples import SESSION, Recorder

PATIENCE_SECONDS = 30


@contextmanager
def in_time() -> Iterator[None]:
    """Break off what hangs, so that it fails."""

    def late(*_: object) -> None:
        raise AssertionError("it hung")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def hold_still(path: Path) -> None:
    with held_still(path):
        pass


@pytest.mark.parametrize("look", [is_held, hold_still])
def test_a_pipe_in_the_place_of_a_lock_keeps_nobody_waiting(
    tmp_path: Path, look: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "lock")

    with in_time():
        assert not look(tmp_path / "lock")


def test_a_lock_that_cannot_be_opened_is_not_called_free(tmp_path: Path) -> None:
    """Its holder may live; a lock that is not there has none."""
    (tmp_path / "lock").symlink_to("other")
    (tmp_path / "file").touch()

    with pytest.raises(LedgerError, match="lock` is held: too many levels of symbolic links") as told:
        is_held(tmp_path / "lock")

    assert str(told.value).startswith("cannot tell whether `")
    assert not is_held(tmp_path / "none")
    assert not is_held(tmp_path / "file" / "lock")


def test_a_lock_that_cannot_be_asked_for_is_not_called_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").touch()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(LedgerError, match=r"lock` is held: no locks available$"):
        is_held(tmp_path / "lock")


def index_of(state: Path) -> None:
    broken = read_index(StateFiles(state)).broken
    if broken is not None:
        raise broken


def append(state: Path) -> None:
    with HostLog(state):
        pass


@pytest.mark.parametrize("make", ["pipe", "link"])
@pytest.mark.parametrize("name", ["checkpoint", "checkpoint.next"])
@pytest.mark.parametrize("look", [index_of, append, lambda state: prove(state, SESSION, 1)])
async def test_a_checkpoint_is_read_from_a_file_and_from_nothing_else(
    recorder: Recorder, state: Path, look: Callable[[Path], object], name: str, make: str
) -> None:
    await recorder.whole(actions=3)
    look(state)
    put_in_its_place(state / name, make)

    with in_time(), pytest.raises(BrokenLedgerError) as refusal:
        look(state)

    what = "not a regular file" if make == "pipe" else "a symbolic link"
    assert f"`{name}` is {what}" in str(refusal.value)


def put_in_its_place(path: Path, make: str) -> None:
    path.unlink(missing_ok=True)
    match make:
        case "pipe":
            os.mkfifo(path, 0o600)
        case "folder":
            path.mkdir(0o700)
        case "device":
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero, which never ends
        case "ten gigabytes":
            path.touch(0o600)
            os.truncate(path, 10 * 2**30)
        case "bytes":
            path.touch(0o600)
            path.write_bytes(b"\xff\x00\x1b[31m\n\n" * 20)
        case _:
            path.symlink_to(path.with_name("elsewhere"))


def own_key(state: Path) -> object:
    return host_vkey(StateFiles(state))


def verified(state: Path) -> object:
    return verify_session(state, SESSION)


DEVICE = pytest.param(
    "device", marks=pytest.mark.skipif(os.geteuid() != 0, reason="making a device needs root")
)
SMALL_FILES: dict[str, Callable[[Path], object]] = {
    "host.vkey": own_key,
    "pinned.vkey": verified,
    "format": verified,
    "host.key": append,
    "redaction.key": lambda state: redaction_key(StateFiles(state)),
}


@pytest.mark.parametrize("make", ["pipe", "link", "folder", DEVICE, "ten gigabytes", "bytes"])
@pytest.mark.parametrize("name", SMALL_FILES)
async def test_a_key_is_read_from_a_small_file_and_from_nothing_else(
    recorder: Recorder, state: Path, name: str, make: str
) -> None:
    """Whatever stands in the file's place: one line that names it, at once, and no memory is filled."""
    await recorder.whole(actions=3)
    pin(StateFiles(state), (state / "host.vkey").read_text())
    SMALL_FILES[name](state)
    put_in_its_place(state / name, make)

    with in_time(), pytest.raises(AuditError) as refusal:
        SMALL_FILES[name](state)

    said = str(refusal.value)
    assert name in said or "has format" in said or "no private key" in said
    assert "\n" not in said
    assert "\x1b" not in said


@pytest.mark.parametrize("name", ["checkpoint", "host.vkey"])
async def test_no_bundle_is_written_without_what_signs_it(recorder: Recorder, state: Path, name: str) -> None:
    """An empty file in its place would look like a forged one to whoever verifies the bundle."""
    await recorder.whole(actions=3)
    (state / name).unlink()
    target = io.BytesIO()

    with pytest.raises(BrokenLedgerError, match=f"^there is no `{name}`$"):
        write_bundle(state, [SESSION], target)

    assert target.getvalue() == b""


@pytest.mark.parametrize("name", ["checkpoint", "host.vkey"])
async def test_no_bundle_waits_for_a_pipe(recorder: Recorder, state: Path, name: str) -> None:
    await recorder.whole(actions=3)
    write_bundle(state, [SESSION], io.BytesIO())
    put_in_its_place(state / name, "pipe")

    with in_time(), pytest.raises(AuditError):
        write_bundle(state, [SESSION], io.BytesIO())


def single_file_says(state: Path) -> tuple[int, str]:
    """Return how the single-file verifier ended, and the first line of what it said."""
    run = [sys.executable, standalone.__file__, str(state)]
    found = subprocess.run(run, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    return found.returncode, found.stdout.splitlines()[0]


async def test_the_single_file_verifier_waits_for_no_pipe(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=3)
    assert single_file_says(state)[0] == 0

    put_in_its_place(state / "checkpoint", "pipe")

    assert single_file_says(state) == (1, "host: BROKEN: checkpoint is not a regular file")


def test_who_looks_at_a_lock_for_a_moment_keeps_no_writer_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ps` and `list` take a lock to see whether it is held, and let it go at once."""
    path = tmp_path / "lock"
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            os.close(looking)

    monkeypatch.setattr(time, "sleep", wait)

    WriterLock(path).release()

    assert len(waits) == 3


def test_who_holds_a_lock_keeps_another_writer_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    held = WriterLock(tmp_path / "lock")

    with pytest.raises(LedgerLockedError, match="has a writer already"):
        WriterLock(tmp_path / "lock")

    assert 0 < sum(waits) <= 0.1
    assert is_held(tmp_path / "lock")
    held.release()
    WriterLock(tmp_path / "lock").release()


@pytest.mark.parametrize("way", [WriterLock, held_alone])
def test_a_lock_is_for_its_owner_only(tmp_path: Path, way: Callable[[Path], object]) -> None:
    """Who may open it may keep the ledger from being written."""
    held = way(tmp_path / "lock")
    with held if isinstance(held, AbstractContextManager) else nullcontext():
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_a_link_in_the_place_of_a_writers_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("other")

    with pytest.raises(LedgerError, match=r"^cannot open `lock`: too many levels of symbolic links$"):
        WriterLock(tmp_path / "lock")

    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="Linux only: open, and not to be locked")
def test_a_file_that_cannot_be_locked_is_not_taken_for_held(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    descriptor = os.open(tmp_path / "lock", os.O_PATH)

    with pytest.raises(OSError, match="Bad file descriptor"):
        take(descriptor, "lock")

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_lock_that_cannot_be_waited_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started there is nobody to wait for it."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with held_alone(tmp_path / "lock"):
        monkeypatch.setattr(threading.Thread, "start", refuse)

        with (
            pytest.raises(LedgerError, match=r"^cannot wait for `lock`: can't start new thread$"),
            held_alone(tmp_path / "lock"),
        ):
            raise AssertionError("it is held twice")
