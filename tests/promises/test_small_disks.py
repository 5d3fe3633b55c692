"""A disk that fills ends a session in order: its ledger verifies, and nothing is done unwritten."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from agent_runner.container import own_identity
from agent_runner.watch import RESERVE_BYTES
from audit.verify import verify_session
from tests.audit.test_ledger_survives_faults import fill, run
from tests.promises.test_life_and_death import LONG, POLICY, Session, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of the test's own"),
]
MIB = 1024 * 1024
LIMIT = 16 * MIB
SLACK = 512 * MIB
"""What a program may write beyond its limit before it is stopped, with much to spare: the host looks several
times a second, which on a busy machine come late."""
NO_FILES = """\
version: 1
name: p
grant: [exec]
exec: {programs: any}
commands: {allow: [run]}
"""
WAITS = """\
version: 1
turns:
  - actions: ["run sleep 20"]
  - actions: ["run echo done"]
  - actions: ["finish --status done"]
"""
FILLS = """\
version: 1
turns:
  - actions: ["run sh -c 'i=0; while true; do head -c 1000000 /dev/zero >big$i; i=$((i+1)); done'"]
  - actions: ["run touch after"]
  - actions: ["finish --status done"]
"""


@pytest.fixture
def small(tmp_path: Path, new_state: Callable[[], Path]) -> Iterator[Callable[[int], Path]]:
    """Return a maker of state folders on an ext4 of their own."""
    mounted: list[Path] = []

    def make(megabytes: int) -> Path:
        image, disk = tmp_path / "image", tmp_path / "disk"
        with image.open("wb") as file:
            file.truncate(megabytes * MIB)
        run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        disk.mkdir()
        run("mount", "-o", "loop", str(image), str(disk))
        mounted.append(disk)
        shutil.copytree(new_state(), disk / "state")
        (disk / "state").chmod(0o700)
        return disk / "state"

    yield make
    for disk in mounted:
        run("umount", "-l", str(disk))


@contextlib.contextmanager
def started(folder: Path, state: Path, *, policy: str, script: str) -> Iterator[Session]:
    """Start a session, and end it."""
    (folder / "place").mkdir()
    session = Session(folder / "place", state, policy=policy, script=script)
    if os.getuid() == 0:
        for path in (folder / "place" / "work", folder / "place" / "work" / "there.txt"):
            os.chown(path, own_identity().uid, own_identity().gid)
    try:
        yield session
    finally:
        session.close()


def test_a_full_disk_ends_the_session_with_6_and_it_can_go_on_when_there_is_room(
    tmp_path: Path, small: Callable[[int], Path]
) -> None:
    """B109: what cannot be written down is not done; the ledger verifies, and the session can be resumed."""
    state = small(48)
    with started(tmp_path, state, policy=NO_FILES, script=WAITS) as session:
        wait_for(lambda: session.entries("action.intended"), "the first action")

        filler = fill(state.parent)
        out, _ = session.process.communicate(timeout=LONG)
        intended = [entry["argv"] for entry in session.entries("action.intended")]
        filler.unlink()
        (name,) = {path.parent.name for path in state.glob("sessions/*/events.jsonl")}
        verified = verify_session(state, name).faults()
        resumed = session.pairlock("resume", name, "--json")

    account = json.loads(out.splitlines()[-1])
    assert (session.process.returncode, account["status"]) == (6, "ledger_failed")
    assert "echo" not in [argv[1] for argv in intended if len(argv) > 1]
    assert verified == {}
    assert (resumed.returncode, json.loads(resumed.stdout.splitlines()[-1])["status"]) == (0, "done")


@pytest.mark.parametrize("megabytes", [160, 2000], ids=["reserve", "limit"])
def test_a_program_that_writes_on_and_on_is_stopped_near_its_limit(
    tmp_path: Path, small: Callable[[int], Path], megabytes: int
) -> None:
    """B119: on a small disk at the reserve, on a large one at the policy's limit; exit 5 says which."""
    state = small(megabytes)
    most = 10_000 * MIB if megabytes == 160 else LIMIT
    policy = POLICY.replace("exec:", f"files: {{limits: {{written_bytes: {most // MIB}MiB}}}}\nexec:", 1)
    with started(tmp_path, state, policy=policy, script=FILLS) as session:
        out, _ = session.process.communicate(timeout=LONG)
        written = sum(path.stat().st_size for path in state.glob("sessions/*/stage/upper/*"))
        room = os.statvfs(state)

    account = json.loads(out.splitlines()[-1])
    limit = "reserve_bytes" if megabytes == 160 else "written_bytes"
    assert (session.process.returncode, account["status"]) == (5, "budget")
    assert f"`{limit}`" in account["reason"]
    assert [hit["limit"] for hit in session.entries("limit.hit")] == [f"stage.{limit}"]
    assert verify_session(state, account["session"]).faults() == {}
    free = room.f_bavail * room.f_frsize
    sys.stdout.write(f"limit {most} bytes, written {written}, free {free}, reserve {RESERVE_BYTES}\n")
    if megabytes != 160:
        assert LIMIT < written <= LIMIT + SLACK
        assert free > RESERVE_BYTES
    else:
        assert 0 < free < RESERVE_BYTES + LIMIT, "it was stopped long before the reserve was touched"


def test_a_disk_that_is_full_before_the_start_is_told_at_once(
    tmp_path: Path, small: Callable[[int], Path]
) -> None:
    """Exit 6 and one line; no container was ever made."""
    state = small(48)
    fill(state.parent)
    with started(tmp_path, state, policy=NO_FILES, script=WAITS) as session:
        session.process.communicate(timeout=LONG)

    assert session.process.returncode == 6
    assert session.entries("sandbox.created") == []
