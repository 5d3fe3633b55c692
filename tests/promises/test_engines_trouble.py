"""An engine that is restarted, killed, stopped, or full, in the middle of a session or before it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.docker_engine import DockerEngine
from sandbox.runtime.images import ready_empty
from sandbox.runtime.volume import ready_runtime
from tests.promises.life import Session, busybox_tar
from tests.promises.second_engine import SecondEngine, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="a second engine needs root"),
]
IMAGE = "pairlock-test/busybox:latest"


def quiet(message: str, /, *, done: int, total: int) -> None:
    """Say nothing."""


async def build(host: str, state: Path) -> None:
    """Build what a session needs, on one engine."""
    engine = await DockerEngine.connect({"DOCKER_HOST": host})
    try:
        await ready_empty(engine, state=state, progress=quiet)
        await ready_runtime(engine, state=state, progress=quiet)
        await engine.import_image(busybox_tar(state.parent), tag=IMAGE)
    finally:
        await engine.close()


@pytest.fixture(scope="module", params=[False, True], ids=["ordinary", "live-restore"])
def engine(request: pytest.FixtureRequest) -> Iterator[SecondEngine]:
    """Start an engine; `live-restore` leaves containers running when it ends."""
    with SecondEngine(live_restore=bool(request.param)) as started:
        yield started


@pytest.fixture(scope="module")
def built_there(engine: SecondEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder in which everything is built on that engine."""
    state = tmp_path_factory.mktemp("trouble") / "state"
    state.mkdir(mode=0o700)
    asyncio.run(build(engine.host, state))
    return state


@pytest.fixture
def session(engine: SecondEngine, built_there: Path, tmp_path: Path) -> Iterator[Session]:
    """Run a session there, and be in the middle of it."""
    state = shutil.copytree(built_there, tmp_path / "state")
    with Session(tmp_path, state, environment={"DOCKER_HOST": engine.host}, image=IMAGE) as started:
        yield started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_is_restarted_costs_the_action_and_not_the_session(
    engine: SecondEngine, session: Session, number: signal.Signals
) -> None:
    """Exit 4 and one line; the ledger holds the reason; resume goes on with the stage; nothing is left."""
    name = session.until_waiting()
    engine.end(number)
    code, said = session.ended()
    engine.start()
    (closed,) = session.entries(name, "session.closed")
    resumed = session.resumed(name)
    changed = session.pairlock("diff", "--name-only", name)
    cleaned = session.pairlock("clean")

    assert (code, closed["status"], closed["exit_code"]) == (4, "sandbox_failed", 4)
    # An engine that ends in order first ends its containers, and still answers meanwhile.
    words = ("the engine went away while the session ran", "the container ended while the session ran")
    assert closed["reason"].startswith(words)
    assert f"pairlock: {closed['reason']}\nhint: " in said
    assert "Traceback" not in said
    assert session.pairlock("audit", "verify", name).returncode == 0
    assert resumed.returncode == 0, resumed.stderr
    assert changed.stdout.split() == ["made.txt"]
    assert cleaned.returncode == 0, cleaned.stderr
    wait_for(lambda: not engine.docker("ps", "-aq"), "the last container to go")


@pytest.mark.parametrize("engine", [False], ids=["ordinary"], indirect=True)
def test_an_engine_that_hangs_is_waited_for_within_bounds(engine: SecondEngine, session: Session) -> None:
    """SIGSTOP: the link notices in seconds, each question has a time-out, one line says what happened."""
    name = session.until_waiting()
    engine.signal(signal.SIGSTOP)
    try:
        code, said = session.ended()
        before_start = session.pairlock("run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml")
    finally:
        engine.signal(signal.SIGCONT)

    (closed,) = session.entries(name, "session.closed")
    assert (code, closed["exit_code"]) == (4, 4)
    assert "does not answer in time" in closed["reason"]
    assert "does not answer in time" in said
    assert before_start.returncode == 4
    assert "does not answer in time" in before_start.stderr
    assert "Traceback" not in said + before_start.stderr
    session.pairlock("clean")
    wait_for(lambda: not engine.docker("ps", "-aq"), "the last container to go")


def test_an_engine_without_room_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    """Its disk is full when the runtime volume is built: exit 4, one line, no volume and no container."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=True)
    try:
        with SecondEngine("--storage-driver", "vfs", root=disk) as small:
            state = tmp_path / "state"
            state.mkdir(mode=0o700)
            session = Session(tmp_path, state, environment={"DOCKER_HOST": small.host}, image=IMAGE)
            (tmp_path / "p.yaml").write_text(
                "version: 1\nname: p\ngrant: [files]\ncommands: {allow: ['files *']}\n"
            )

            ran = session.pairlock("run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml")

            assert ran.returncode == 4, ran.stderr
            assert "the engine has no room left" in ran.stderr
            assert "Traceback" not in ran.stderr
            assert small.docker("ps", "-aq") == ""
            assert small.docker("volume", "ls", "-q") == ""
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
