"""What a crash, a full or failing disk and other writers do to the ledger: real processes, real disks."""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from audit.appendfile import RESERVE_BYTES, AppendFile
from audit.chain import join, leaf_hash
from audit.errors import (
    BrokenLedgerError,
    LedgerDeadError,
    LedgerError,
    LedgerFullError,
    LedgerLostError,
    StateFolderError,
)
from audit.host import HostLog, Receipt
from audit.host_event import PolicyTrusted
from audit.index import read_index
from audit.journal import Journal, Registration
from audit.segments import Lines
from audit.state import StateFiles
from audit.verdict import Closed, Crashed
from audit.verify import verify_all, verify_session
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock

ROOT = Path(__file__).parents[2]
MODULE = "tests.audit.writing_child"
linux_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, *arguments],
        bufsize=0,  # what was read ahead would be lost to communicate()
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(child: subprocess.Popen[bytes]) -> tuple[list[tuple[int, str]], str]:
    """Return what a child acknowledged, and what it said on stderr."""
    out, err = child.communicate(timeout=120)
    whole = [line.split() for line in out.decode().split("\n")[:-1] if line != "ready"]
    return [(int(place), leaf) for place, leaf in whole], err.decode()


def leaves_of(paths: list[Path]) -> list[str]:
    return [leaf_hash(line).hex() for line in Lines(paths)]


def session_leaves(state: Path) -> list[str]:
    return leaves_of([path for _, path in StateFiles(state).session(SESSION).segments()])


def check_acknowledged(acknowledged: list[tuple[int, str]], leaves: list[str]) -> None:
    """Check that everything acknowledged is there, at its place."""
    assert [leaf for _, leaf in acknowledged] == [leaves[seq] for seq, _ in acknowledged]


def kill_after(child: subprocess.Popen[bytes], seconds: float) -> list[tuple[int, str]]:
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    return finished(child)[0]


@pytest.mark.parametrize("round_number", range(5))
@pytest.mark.long
def test_killed_at_random_points_nothing_acknowledged_is_lost(tmp_path: Path, round_number: int) -> None:
    """Each log recovers and verifies, over and over, whatever moment the kill hit."""
    chance = Random(round_number)  # noqa: S311 - when to kill is no secret
    check_kills(tmp_path / "state", chance, kills=4)


@pytest.mark.long
def test_two_hundred_kills(tmp_path: Path) -> None:
    chance = Random(20_000)  # noqa: S311 - when to kill is no secret
    for run in range(40):
        check_kills(tmp_path / f"state{run}", chance, kills=5)
        shutil.rmtree(tmp_path / f"state{run}")


def check_kills(state: Path, chance: Random, *, kills: int) -> None:
    for kill in range(kills):
        child = start("again" if kill else "new", str(state), SESSION)
        acknowledged = kill_after(child, chance.random() * 0.3)

        check_acknowledged(acknowledged, session_leaves(state))
        found = verify_session(state, SESSION)
        assert found.faults() == {}
        assert isinstance(found.completeness, Crashed)
    assert asyncio.run(closed_after(state)) == Closed()
    assert [one.log for one in verify_all(state) if one.faults()] == []


async def closed_after(state: Path) -> object:
    async with Journal.reopen(state, SESSION) as journal:
        await journal.close(Samples().closed())
    return verify_session(state, SESSION).completeness


@pytest.mark.long
def test_killed_while_it_is_made_the_host_log_goes_on(tmp_path: Path) -> None:
    """A kill between any two steps of an append leaves a host's log that the next one can take up."""
    chance = Random(7)  # noqa: S311 - when to kill is no secret
    state = tmp_path / "state"
    total: list[tuple[int, str]] = []
    for number in range(12):
        child = start("host", str(state), f"child{number}", "10000")
        total += kill_after(child, chance.random() * 0.1)

        check_acknowledged(total, leaves_of([state / "ledger.jsonl"]))
    with HostLog(state) as host:
        host.append(PolicyTrusted(origin="after", digest="0" * 64, by="a test"))
    assert read_index(StateFiles(state)).broken is None


def test_eight_processes_append_to_the_host_log_at_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    children = [start("host", str(state), f"child{number}", "25") for number in range(8)]

    said = [finished(child) for child in children]

    assert [err for _, err in said] == [""] * 8
    assert [len(acknowledged) for acknowledged, _ in said] == [25] * 8
    leaves = leaves_of([state / "ledger.jsonl"])
    assert len(leaves) == 201
    for acknowledged, _ in said:
        check_acknowledged(acknowledged, leaves)
    assert read_index(StateFiles(state)).broken is None


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        run("umount", "-l", str(folder))


@contextlib.contextmanager
def loop_disk(folder: Path) -> Iterator[Path]:
    """Give an ext4 of 32 MiB, in a file."""
    image = folder.with_name("image")
    with image.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    run("mkfs.ext4", "-q", "-F", str(image))
    folder.mkdir()
    run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        run("umount", "-l", str(folder))


def run(program: str, *arguments: str, must: bool = True) -> None:
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert path is not None, f"{program} is not installed"
    subprocess.run([path, *arguments], check=must, capture_output=True)


def fill(folder: Path) -> Path:
    """Fill a disk to its last byte."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65_536)
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 512)
    return path


async def until_refused(journal: Journal, samples: Samples) -> list[Receipt]:
    """Record until the ledger refuses, and return what it had acknowledged before."""
    receipts: list[Receipt] = []
    with contextlib.suppress(LedgerError):
        while len(receipts) < 10_000:
            receipts += [await journal.record(samples.intended(0, text="x" * 4000))]
    assert len(receipts) < 10_000
    return receipts


@linux_as_root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_on_a_full_disk_nothing_more_is_done_and_the_end_is_still_written(
    tmp_path: Path, samples: Samples, kind: str
) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, megabytes=6) if kind == "tmpfs" else loop_disk(folder) as disk:
        state = disk / "state"
        async with Journal.create(state, SESSION, registration=Registration(grant="files")) as journal:
            receipts = [await journal.record(samples.intended(0))]
            fill(disk)
            receipts += await until_refused(journal, samples)
            assert isinstance(await asyncio.wait_for(journal.failed, 20), LedgerFullError)
            with pytest.raises(LedgerDeadError):
                await journal.record(samples.intended(2))
            await journal.close(samples.closed())

        found = verify_session(state, SESSION)
        assert found.faults() == {}
        assert found.completeness == Closed(told=False)  # the host's log stands on the same disk
        leaves = leaves_of([state / "sessions" / SESSION / "events.jsonl"])
        check_acknowledged([(receipt.seq, receipt.leaf.hex()) for receipt in receipts], leaves)


@linux_as_root
def test_a_log_on_a_full_disk_keeps_room_for_its_closing_lines(tmp_path: Path) -> None:
    """Whoever else fails first on a full disk: the log itself stops with 1 MiB still held for its end."""
    with small_disk(tmp_path / "disk", megabytes=6) as disk:
        file = AppendFile(disk / "events.jsonl")
        file.reserve()
        fill(disk)
        with pytest.raises(LedgerFullError):  # noqa: PT012 - the refusal comes at one of many
            for _ in range(2000):
                file.append(b"x" * 4000)

        assert file.reserved_bytes >= RESERVE_BYTES
        file.append(b"y" * 900_000, closing=True)

        assert (disk / "events.jsonl").read_bytes().endswith(b"y" * 900_000)
        file.close()


@linux_as_root
async def test_with_room_again_a_session_that_met_a_full_disk_goes_on(
    tmp_path: Path, samples: Samples
) -> None:
    with small_disk(tmp_path / "disk", megabytes=6) as disk:
        state = disk / "state"
        async with Journal.create(state, SESSION, registration=Registration(grant="files")) as journal:
            filler = fill(disk)
            await until_refused(journal, samples)
        filler.unlink()

        async with Journal.reopen(state, SESSION) as journal:
            await journal.record(samples.intended(2))
            await journal.close(samples.closed())

        assert verify_session(state, SESSION).faults() == {}


@linux_as_root
async def test_on_a_disk_that_is_full_from_the_start_no_session_begins(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        fill(disk)

        with pytest.raises(StateFolderError, match="no space left on device"):
            async with Journal.create(disk / "state", SESSION, registration=Registration(grant="files")):
                pass


@linux_as_root
async def test_a_disk_that_turns_read_only_ends_the_session(tmp_path: Path, samples: Samples) -> None:
    with loop_disk(tmp_path / "disk") as disk:
        async with Journal.create(
            disk / "state", SESSION, registration=Registration(grant="none")
        ) as journal:
            await journal.record(samples.intended(0))
            # An emergency remount, as the kernel does it after an error: open files stay open, writes fail.
            run("mount", "-o", "remount,abort", str(disk), must=False)
            await until_refused(journal, samples)
            assert isinstance(await asyncio.wait_for(journal.failed, 20), LedgerError)
            with pytest.raises(LedgerError):
                await journal.close(samples.closed())


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
static int calls;
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    if (++calls == atoi(getenv("FAIL_AT"))) { errno = atoi(getenv("FAIL_WITH")); return -1; }
    return real(fd);
}
ssize_t write(int fd, const void *bytes, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    static int writes;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    int grows = fd > 2 && (fcntl(fd, F_GETFL) & O_APPEND);  /* whole files are written on, and lose nothing */
    if (getenv("SHORT_AT") && grows && size > 200 && ++writes == atoi(getenv("SHORT_AT")))
        return real(fd, bytes, size - 7);
    return real(fd, bytes, size);
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    run("gcc", "-shared", "-fPIC", "-o", str(folder / "shim.so"), str(folder / "shim.c"), "-ldl")
    return folder / "shim.so"


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (errno.EIO, "input/output error"),
        (errno.ENOSPC, "no space left on device"),
        (errno.EDQUOT, "disk quota exceeded"),
    ],
)
@pytest.mark.parametrize("call", [5, 12, 30])
def test_a_failed_sync_is_final_though_the_next_would_succeed(
    tmp_path: Path, shim: Path, call: int, problem: int, words: str
) -> None:
    """After EIO the kernel may drop the dirty pages and let the next fsync succeed: it must not be asked.

    Where blocks are found late, a full disk and a quota are told by the sync as well.
    """
    state = tmp_path / "state"
    child = start("new", str(state), SESSION, LD_PRELOAD=str(shim), FAIL_AT=str(call), FAIL_WITH=str(problem))

    acknowledged, said = finished(child)

    assert child.returncode == 6
    assert words in said
    check_acknowledged(acknowledged, session_leaves(state))
    asyncio.run(closed_after(state))
    assert verify_session(state, SESSION).faults() == {}


@pytest.mark.parametrize("call", [25, 40, 41])
def test_a_short_write_is_seen_and_final(tmp_path: Path, shim: Path, call: int) -> None:
    state = tmp_path / "state"
    child = start("new", str(state), SESSION, LD_PRELOAD=str(shim), FAIL_AT="-1", SHORT_AT=str(call))

    acknowledged, said = finished(child)

    assert child.returncode == 6
    assert "of" in said
    check_acknowledged(acknowledged, session_leaves(state))
    asyncio.run(closed_after(state))
    assert verify_session(state, SESSION).faults() == {}


async def test_a_clock_that_goes_backwards_changes_neither_order_nor_verdict(
    recorder: Recorder, state: Path, samples: Samples, clock: TurnableClock
) -> None:
    async with recorder.journal(clock=clock) as journal:
        await journal.record(samples.intended(0))
        clock.wall -= 3_600_000_000
        await journal.record(samples.intended(1))
        await journal.close(samples.closed())

    assert verify_session(state, SESSION).faults() == {}


def test_a_host_log_that_is_gone_is_not_begun_anew(state: Path) -> None:
    with HostLog(state):
        pass
    (state / "ledger.jsonl").unlink()

    with pytest.raises(LedgerLostError):
        HostLog(state)


def test_a_line_that_no_checkpoint_covers_is_never_signed(state: Path) -> None:
    with HostLog(state):
        pass
    with HostLog(state) as host:
        host.append(PolicyTrusted(origin="mine", digest="0" * 64, by="me"))
    path = state / "ledger.jsonl"
    lines = path.read_bytes().splitlines()

    forged = join(
        len(lines), leaf_hash(lines[-1]), b"{" + lines[-1].split(b",", 2)[2].replace(b"mine", b"evil")
    )
    path.write_bytes(path.read_bytes() + forged + b"\n")

    with pytest.raises(BrokenLedgerError):
        HostLog(state)
    assert read_index(StateFiles(state)).broken is not None


def test_closing_one_host_log_leaves_what_others_appended(state: Path) -> None:
    """The reserve is given back by cutting the file, which would cut what another process has added since."""
    with HostLog(state) as other:
        with HostLog(state) as one:
            one.append(PolicyTrusted(origin="one", digest="0" * 64, by="me"))
            other.append(PolicyTrusted(origin="other", digest="0" * 64, by="me"))
        other.append(PolicyTrusted(origin="other again", digest="0" * 64, by="me"))

    assert len(leaves_of([state / "ledger.jsonl"])) == 4
    assert read_index(StateFiles(state)).broken is None
