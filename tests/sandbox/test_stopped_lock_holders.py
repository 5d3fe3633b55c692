"""Who holds a lock of the state folder and does not go on keeps nobody waiting for ever, and is named."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from audit import lock as ledger_lock
from audit.holders import holders_of
from sandbox.errands import Errands
from sandbox.errors import SandboxError
from sandbox.neutral import NeutralNames, sweep_names
from sandbox.runtime.errors import RuntimeBuildError
from sandbox.runtime.record import EngineRecord, RecordFile
from sandbox.stage.errors import LabelError
from sandbox.stage.labels import Labels
from sandbox.workspace import identity_of
from tests.holding import holding

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

HOLD = """\
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
SOON_SECONDS = 0.4


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_lock, "PATIENCE_SECONDS", SOON_SECONDS)


def holder(path: Path, *, stop: bool) -> AbstractContextManager[int]:
    """Give the process that holds a lock, stopped or not."""
    return holding("-I", "-S", "-c", HOLD, str(path), stop=stop)


def relabel(place: Path) -> None:
    """Change the label of a folder."""
    Labels(place / "workspaces").rewrite(identity_of(place), Labels(place / "none").read(identity_of(place)))


def remember(place: Path) -> None:
    """Write down what was built on an engine."""

    async def write() -> None:
        file = RecordFile(place, "A")
        async with file.locked():
            file.write(EngineRecord(empty="sha256:1"))

    asyncio.run(write())


def link(place: Path) -> None:
    """Name a folder for a mount."""
    names = NeutralNames.make({"XDG_RUNTIME_DIR": str(place)})
    names.name(place)
    names.remove()


def sweep(place: Path) -> None:
    """Remove what killed runners left of such names."""
    sweep_names({"XDG_RUNTIME_DIR": str(place)})


WAITING: list[tuple[Callable[[Path], None], str, str, type[SandboxError]]] = [
    (relabel, "workspaces/lock", "workspaces/lock", LabelError),
    (remember, "engines/A.lock", "engines/A.lock", RuntimeBuildError),
    (link, "pairlock-mounts", "{place}/pairlock-mounts", SandboxError),
    (sweep, "pairlock-mounts", "{place}/pairlock-mounts", SandboxError),
]
CASES = [pytest.param(*case, id=case[0].__name__) for case in WAITING]


def names_disks_as_stat_does(path: Path) -> bool:
    """Tell whether the kernel's list of locks names this file's disk as stat(2) does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return holders_of(path.stat()) == [os.getpid()]
    finally:
        os.close(descriptor)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("act", "locked", "named", "kind"), CASES)
def test_one_that_is_stopped_is_named_with_what_lets_it_go_on(
    tmp_path: Path, act: Callable[[Path], None], locked: str, named: str, kind: type[SandboxError]
) -> None:
    """One clear error instead of silence; afterwards, and before, the same thing is done."""
    link(tmp_path)
    act(tmp_path)
    known = names_disks_as_stat_does(tmp_path / locked)

    with holder(tmp_path / locked, stop=True) as pid, pytest.raises(kind) as refusal:
        act(tmp_path)

    who = f"process {pid}, which is stopped" if known else "another process"
    hint = f"let it go on with `kill -CONT {pid}`, or end it" if known else "let it finish, or end it"
    what = named.format(place=tmp_path)
    said = re.sub(r" for \d+ s ", " for N s ", refusal.value.message)
    assert (said, refusal.value.hint) == (f"`{what}` has been held for N s by {who}", hint)
    act(tmp_path)


@pytest.mark.parametrize(("act", "locked", "named", "kind"), CASES)
def test_one_that_lets_go_in_time_is_waited_for(
    tmp_path: Path, act: Callable[[Path], None], locked: str, named: str, kind: type[SandboxError]
) -> None:
    """Even where it was stopped for a while."""
    del named, kind
    link(tmp_path)
    act(tmp_path)

    with holder(tmp_path / locked, stop=True) as pid:
        ended = subprocess.Popen(["/bin/sh", "-c", f"sleep {SOON_SECONDS}; kill -KILL {pid}"])
        began = time.monotonic()
        act(tmp_path)
        waited = time.monotonic() - began
        ended.wait()

    assert waited > SOON_SECONDS / 4


@pytest.mark.usefixtures("impatient")
async def test_one_that_builds_is_waited_for_longer_than_one_that_is_stopped(tmp_path: Path) -> None:
    """An engine's record is held while an image is built, for minutes; who is stopped builds nothing."""
    file = RecordFile(tmp_path, "A")
    async with file.locked():
        pass

    with holder(tmp_path / "engines" / "A.lock", stop=False) as pid:
        waiting = asyncio.create_task(_write(file))
        await asyncio.sleep(SOON_SECONDS * 4)
        still = not waiting.done()
        if names_disks_as_stat_does_now(tmp_path / "engines" / "A.lock", pid):
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(RuntimeBuildError, match=f"process {pid}, which is stopped"):
                await waiting

    assert still
    await _write(file)


@pytest.mark.usefixtures("impatient")
async def test_who_builds_for_ever_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_lock, "WORK_SECONDS", SOON_SECONDS)
    file = RecordFile(tmp_path, "A")
    async with file.locked():
        pass

    with (
        holder(tmp_path / "engines" / "A.lock", stop=False),
        pytest.raises(RuntimeBuildError, match=r"has been held for \d+ s by .*process"),
    ):
        await _write(file)


async def test_who_gives_up_waiting_for_a_builder_asks_for_its_lock_no_more(tmp_path: Path) -> None:
    """A person's Ctrl-C ends the wait at once, and the lock that comes later is let go of."""
    file = RecordFile(tmp_path, "A")
    async with file.locked():
        pass

    with holder(tmp_path / "engines" / "A.lock", stop=True):
        waiting = asyncio.create_task(_write(file))
        await asyncio.sleep(SOON_SECONDS)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    await _write(file)


async def _write(file: RecordFile) -> None:
    async with file.locked():
        file.write(EngineRecord(empty="sha256:1"))


def names_disks_as_stat_does_now(path: Path, pid: int) -> bool:
    """Tell the same while a process holds the lock."""
    return holders_of(path.stat()) == [pid]


def test_a_sweeper_that_is_stopped_on_a_new_errands_lock_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between making the file and locking it; another file is made."""
    opened = os.open
    swept: list[int] = []

    def between(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        if not swept:
            swept.append(opened(path, os.O_RDONLY))
            fcntl.flock(swept[0], fcntl.LOCK_EX)
        return descriptor

    monkeypatch.setattr("sandbox.errands.os.open", between)
    errands = Errands(tmp_path, "a" * 16)

    with errands.begun() as errand:
        living = [path.name for path in (tmp_path / "errands").iterdir()]
    os.close(swept[0])

    assert living == [errand.token]
