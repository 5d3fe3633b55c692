"""`pairlock clean` removes what dead sessions left: not what lives, waits, or only looks like theirs."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import docker
import orjson
import pytest

from agent_runner.clean import Cleaned, Cleaning, clean
from agent_runner.leftovers import leftovers
from agent_runner.state_label import state_label
from agent_runner.waiting import Unread, waiting_in
from audit.errors import StateFolderError
from audit.lock import WriterLock
from audit.state import StateFiles, prepare
from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.docker_request import filling_request
from sandbox.spec import LABEL_SESSION, LABEL_STATE
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.live import still_there

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.promises.conftest import Lab
    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine
DEAD, LIVING = "0d0d0d0d0d0d", "1v1v1v1v1v1v"
POLICY = "version: 1\nname: p\ngrant: [files]\ncommands: {allow: ['files *']}\n"
WRITES = [{"command": "files write made.txt", "content": "made"}]


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give sockets and links a folder of their own."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


async def cleaned(state: Path, wanted: Cleaning | None = None) -> list[Cleaned]:
    """Return what became of everything that was found."""
    return [found async for found in clean(state, wanted or Cleaning())]


def folder_of(state: Path, session: str) -> Path:
    """Make a session's folder."""
    prepare(state)
    folder = StateFiles(state).session(session).folder
    folder.mkdir(mode=0o700)
    return folder


async def test_a_link_in_the_state_folder_is_never_followed(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """B48: a session's folder, or its stage, that is a link leads to somebody's files; they stay."""
    state = new_state()
    precious = tmp_path / "precious"
    (precious / "stage" / "upper").mkdir(parents=True)
    (precious / "stage" / "upper" / "file").write_text("precious")
    prepare(state)
    (state / "sessions" / DEAD).symlink_to(precious)
    (folder_of(state, LIVING) / "stage").symlink_to(precious / "stage")
    (state / "sessions" / os.fsdecode(b"\xff\xfe")).mkdir()
    (state / "sessions" / ("a" * 200)).mkdir()

    found = await cleaned(state, Cleaning(unreviewed=True))

    assert found == []
    assert (precious / "stage" / "upper" / "file").read_text() == "precious"


async def test_a_stage_that_cannot_be_read_is_kept_and_told_of(
    lab: Lab, new_state: Callable[[], Path]
) -> None:
    """A workspace that was moved away does not make its unreviewed changes worthless."""
    state, workspace = new_state(), lab.workspace(there="there")
    ran = await lab.arun(POLICY, WRITES, workspace=workspace, state=state)
    folder = ran.result.ledger.parent
    workspace.rename(workspace.with_name("moved"))

    unread = waiting_in(folder)
    kept = await cleaned(state)
    stage_is_there = (folder / "stage" / "upper" / "made.txt").read_text() == "made"
    removed = await cleaned(state, Cleaning(unreviewed=True))

    assert isinstance(unread, Unread)
    assert [found.name for found in kept] == [f"the stage of session {folder.name}"]
    assert kept[0].kept.startswith("it cannot be read (")
    assert stage_is_there
    assert [(found.name, found.kept, found.error) for found in removed] == [(kept[0].name, "", None)]
    assert not (folder / "stage").exists()


async def test_a_dry_run_names_what_would_go_and_leaves_it(lab: Lab, new_state: Callable[[], Path]) -> None:
    """And what `--unreviewed` throws away is a person's decision, in the host's log."""
    state = new_state()
    ran = await lab.arun(POLICY, WRITES, workspace=lab.workspace(), state=state)
    stage = ran.result.ledger.parent / "stage"

    would = await cleaned(state, Cleaning(unreviewed=True, dry_run=True))
    still_there = stage.is_dir()
    does = await cleaned(state, Cleaning(unreviewed=True))

    assert [found.name for found in would] == [f"the stage of session {ran.result.session} with 1 changes"]
    assert still_there
    assert does == would
    assert not stage.exists()
    entries = [orjson.loads(line) for line in StateFiles(state).log.read_bytes().splitlines()]
    (discarded,) = [entry["body"] for entry in entries if entry["type"] == "stage.discarded"]
    assert discarded["session"] == ran.result.session


async def test_a_session_that_goes_on_while_clean_looks_keeps_its_stage(
    lab: Lab, new_state: Callable[[], Path]
) -> None:
    """`resume` may lock its session after the look; removal takes that lock, and looks again under it."""
    state = new_state()
    ran = await lab.arun(POLICY, WRITES, workspace=lab.workspace(), state=state)
    folder = ran.result.ledger.parent
    engine = await DockerEngine.connect()
    try:
        (found,) = [item async for item in leftovers(engine, state, unreviewed=True)]
        resumed = WriterLock(folder / "writer.lock")
        running = await found.remove()
        (folder / "stage" / "upper" / "another.txt").write_text("made by the session that went on")
        resumed.release()
        ended = await found.remove()
        (folder / "stage" / "upper" / "another.txt").unlink()
        gone = await found.remove()
    finally:
        await engine.close()

    assert running == "a runner has just gone on with the session"
    assert ended == "its changes are others than a moment ago"
    assert gone is None
    assert not (folder / "stage").exists()


async def test_what_a_killed_clean_left_half_removed_goes(new_state: Callable[[], Path]) -> None:
    """A stage is renamed before it is removed; the other half is found by the next run."""
    state = new_state()
    half = folder_of(state, DEAD) / "stage.discarded"
    (half / "upper").mkdir(parents=True)

    found = await cleaned(state)

    assert [item.name for item in found] == [
        f"the stage of session {DEAD}",
        f"the empty folder of session {DEAD}",
    ]
    assert not half.parent.exists()


async def test_only_sockets_at_which_nobody_listens_go(
    new_state: Callable[[], Path], runtime_folder: Path
) -> None:
    """A runner that was killed leaves its socket; one that lives keeps it."""
    sockets = runtime_folder / "pairlock"
    sockets.mkdir(mode=0o700)
    dead, living = (socket.socket(socket.AF_UNIX) for _ in range(2))
    for line, name in ((dead, DEAD), (living, LIVING)):
        line.bind(str(sockets / name))
        line.listen()
    dead.close()

    found = await cleaned(new_state())
    living.close()

    assert [item.name for item in found] == [f"the socket of session {DEAD}"]
    assert [path.name for path in sockets.iterdir()] == [LIVING]


async def test_a_runtime_folder_of_somebody_else_keeps_nothing_else_from_going(
    new_state: Callable[[], Path], runtime_folder: Path
) -> None:
    """In /tmp another user can make it first: it is told of, and the rest is cleaned."""
    state = new_state()
    folder_of(state, DEAD)
    for name in ("pairlock", "pairlock-mounts"):
        (runtime_folder / name).mkdir()
        (runtime_folder / name).chmod(0o777)

    found = await cleaned(state)

    assert [item.name for item in found] == [f"the empty folder of session {DEAD}", "the links of mounts"]
    assert [bool(item.kept) for item in found] == [False, True]
    assert "not a private folder" in found[1].kept


@pytest.mark.parametrize(
    ("session", "named_state", "goes"),
    [
        (DEAD, "this", True),
        (LIVING, "this", False),
        (DEAD, "another", False),
        ("../../etc\x1b[2J", "this", True),
        ("", "this", True),
    ],
    ids=["dead", "living", "another state", "no id", "no session"],
)
async def test_a_container_goes_only_when_its_labels_name_a_dead_session_of_this_state(
    new_state: Callable[[], Path],
    ground: Ground,  # noqa: F811 - the fixture
    session: str,
    named_state: str,
    *,
    goes: bool,
) -> None:
    """B45, B99: labels may be anybody's; what they say is escaped, and leads to no path."""
    state = new_state()
    lock = WriterLock(folder_of(state, LIVING) / "writer.lock")
    spec = await ground.spec(Grant.NONE)
    label = state_label(state if named_state == "this" else state / "another")
    engine = await DockerEngine.connect()
    container = await engine.create(
        replace(spec, labels={**spec.labels, LABEL_SESSION: session, LABEL_STATE: label})
    )
    try:
        found = await cleaned(state)

        assert [item.error for item in found] == ([None] if goes else [])
        assert await still_there(container) != goes
        assert all(item.name.isprintable() for item in found)
    finally:
        lock.release()
        await engine.remove(container)
        await engine.close()


async def test_what_a_killed_filling_left_on_a_volume_goes_with_it(
    new_state: Callable[[], Path],
    ground: Ground,  # noqa: F811 - the fixture
) -> None:
    """The container through which a volume is filled has no labels; it is known by the volume."""
    state, name = new_state(), f"pairlock-test-{os.urandom(8).hex()}"
    image = (await ground.spec(Grant.NONE)).image
    engine = await DockerEngine.connect()
    await engine.create_volume(name, labels={LABEL_SESSION: DEAD, LABEL_STATE: state_label(state)})
    client = docker.from_env().api
    client.create_container_from_config(  # type: ignore[no-untyped-call]  # the SDK has no types
        filling_request(volume=name, image=image, path="/workspace")
    )
    try:
        found = await cleaned(state)

        assert [(item.name, item.error) for item in found] == [(f"the volume {name}", None)]
        assert not await engine.volume_exists(name)
    finally:
        client.close()
        await engine.close()


async def test_the_state_folder_of_somebody_else_is_not_cleaned(new_state: Callable[[], Path]) -> None:
    """Root could; it would be another user's sessions."""
    state = new_state()
    state.chmod(0o777)

    with pytest.raises(StateFolderError):
        await cleaned(state)
