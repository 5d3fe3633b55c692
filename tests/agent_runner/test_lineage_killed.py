"""A label never holds less than was exercised: whenever its runner is killed, and on a full disk."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from agent_runner.label_proof import prove_labels
from agent_runner.lineage import labels_of, require_lineage, wrote_unreviewed
from audit.lock import is_held
from audit.state import StateFiles
from policies.capability import Capability
from policies.grant import Grant
from policies.lineage import Contribution, Label
from sandbox.stage.errors import LabelError
from sandbox.workspace import open_workspace
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent_runner.backends.backend import Reply
    from sandbox.workspace import Workspace
    from tests.agent_runner.stand import Stand

PATIENCE_SECONDS = 60.0
RUNS = (
    'version: 1\nname: x\ngrant: [files, exec]\ncommands: {allow: ["files *", run]}\nexec: {programs: any}\n'
    "files: {access: direct, hide_defaults: false, protect_defaults: false}\n"
)
HELD = Grant.FILES_NETWORK.capabilities


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("workspace", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    return open_workspace(tmp_path / "workspace", state=tmp_path / "state")


def in_a_child(act: Callable[[], object]) -> int:
    """Do something in a process of its own, and return the signal that ended it; 0 for none."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_between_label_and_entry_it_holds_more_and_not_less(workspace: Workspace) -> None:
    """Nobody waits for its lock; the next start is refused, and `audit verify` finds no fault in it."""
    state = workspace.path.parent / "state"
    labels, added = labels_of(state), Label((Contribution(SESSION, HELD),))
    wrote_unreviewed(state, workspace.identity, SESSION, Grant.FILES.capabilities, why="a test")

    ended = in_a_child(lambda: labels.raise_to(workspace.identity, added, noted=killed))

    assert ended == signal.SIGKILL
    assert labels.read(workspace.identity).capabilities == HELD
    assert not is_held(labels.lock)
    with pytest.raises(RefusedError, match=SESSION):
        require_lineage(state, workspace, Grant.FILES_EXEC)


def test_killed_between_entry_and_label_a_review_takes_nothing_off(workspace: Workspace) -> None:
    state = workspace.path.parent / "state"
    labels = labels_of(state)
    wrote_unreviewed(state, workspace.identity, SESSION, HELD, why="a test")

    shown = labels.read(workspace.identity)
    ended = in_a_child(lambda: labels.lower(workspace.identity, shown, noted=killed))

    assert ended == signal.SIGKILL
    assert labels.read(workspace.identity).capabilities == HELD


@pytest.fixture
def small(workspace: Workspace) -> Iterator[Path]:
    """Return the folder of the labels, on a filesystem without room."""
    folder = workspace.path.parent / "state" / "workspaces"
    yield from full(folder)


def full(folder: Path) -> Iterator[Path]:
    folder.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=8k,mode=700", "none", folder], check=True)
    try:
        (folder / "lock").touch(mode=0o600)
        (folder / "filler").write_bytes(b"x" * 8192)
        yield folder
    finally:
        subprocess.run(["/usr/bin/umount", "--lazy", folder], check=True)


def test_on_a_full_disk_a_label_is_not_raised_and_that_is_one_line(workspace: Workspace, small: Path) -> None:
    """Nothing half written stands in its place; with room it is raised."""
    state = workspace.path.parent / "state"

    with pytest.raises(LabelError) as refused:
        wrote_unreviewed(state, workspace.identity, SESSION, HELD, why="a test")
    left = sorted(path.name for path in small.glob("*.json"))
    (small / "filler").unlink()
    wrote_unreviewed(state, workspace.identity, SESSION, HELD, why="a test")

    told = f"the label of `{workspace.path}` cannot be written: No space left on device"
    assert (refused.value.message, left) == (told, [])
    assert labels_of(state).read(workspace.identity).capabilities == HELD


async def test_on_a_full_disk_an_action_is_refused_and_not_done(stand: Stand) -> None:
    filled = full(stand.state / "workspaces")
    next(filled)
    try:
        await stand.run(saying(lines("files write made --content x"), lines("run touch ran"), FINISH), RUNS)
    finally:
        next(filled, None)

    ends = [(end["outcome"], end["detail"]) for end in stand.entries("action.finished")][:2]
    assert [outcome for outcome, _ in ends] == ["failed", "failed"]
    assert all("cannot be written: No space left on device" in detail for _, detail in ends)
    assert list(stand.folder.iterdir()) == []
    assert stand.entries("process.started") == []


STEPS: tuple[Reply, ...] = (
    lines("files write made --content x"),
    lines("run touch ran"),
    lines("files write more --content x"),
    FINISH,
)


@pytest.mark.parametrize("number", range(6))
def test_killed_at_any_moment_what_is_done_is_on_the_label(stand: Stand, number: int) -> None:
    """What a program left in the workspace was preceded by `exec` on the label; what nobody did is not."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            asyncio.run(stand.run(saying(*STEPS), RUNS))
        finally:
            os._exit(0)
    try:
        _await(stand, random.Random().random() * 0.08 * number)  # noqa: S311 - a moment, and no secret
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    _settled(stand)

    done = {path.name for path in stand.folder.iterdir()}
    label = labels_of(stand.state).read(open_workspace(stand.folder, state=stand.state).identity)
    assert Capability.EXEC in label.capabilities or "ran" not in done
    assert Capability.FILES in label.capabilities or not done
    assert prove_labels(stand.state).faults == ()


def _await(stand: Stand, after_seconds: float) -> None:
    """Wait until the first action has begun, and then for a while."""
    events = StateFiles(stand.state).session(SESSION).events
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if events.exists() and b'"type":"action.intended"' in events.read_bytes():
            break
        time.sleep(0.005)
    time.sleep(after_seconds)


def _settled(stand: Stand) -> None:
    """Wait until whatever the guest was doing when its host died has come to nothing."""
    deadline, seen = time.monotonic() + PATIENCE_SECONDS, -1
    while time.monotonic() < deadline and seen != (seen := len(list(stand.folder.iterdir()))):
        time.sleep(0.3)
