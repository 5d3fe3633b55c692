"""A socket of this machine does not mean its paths: what is mounted is what the runner opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.errors import SandboxError
from sandbox.neutral import NeutralNames
from sandbox.workspace import open_workspace
from tests.promises.life import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
POLICY = """\
version: 1
name: p
grant: [files]
files: {access: ACCESS}
commands: {allow: ["files *"]}
"""
SCRIPT = """\
version: 1
turns:
  - actions: ["files read which.txt", {command: files write made.txt, content: made}]
  - actions: ["finish --status done"]
"""
# The runner's mount namespace: at the workspace's path lies another folder than the engine has there.
ELSEWHERE = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')


class Paths:
    """A workspace, another folder of the same path, and a runner that sees the one or the other."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        self.workspace, self.other = folder / "work", folder / "other"
        for place, text in ((self.workspace, "the engine's\n"), (self.other, "the runner's\n")):
            place.mkdir()
            (place / "which.txt").write_text(text)
            os.chown(place, 65532, 65532)  # so that nothing but the paths stands in the way of an overlay
            os.chown(place / "which.txt", 65532, 65532)

    def run(self, access: str, *, elsewhere: bool) -> subprocess.CompletedProcess[str]:
        """Run a session that reads a file and writes one."""
        (self.folder / "p.yaml").write_text(POLICY.replace("ACCESS", access))
        (self.folder / "s.yaml").write_text(SCRIPT)
        words = ["run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml"]
        prefix = (*ELSEWHERE, str(self.other), str(self.workspace)) if elsewhere else ()
        return subprocess.run(
            [*prefix, sys.executable, "-m", "agent_runner", *words],
            cwd=self.folder,
            env={**os.environ, "PAIRLOCK_STATE": str(self.state), "PYTHONPATH": str(CHECKOUT), "CI": "true"},
            capture_output=True,
            text=True,
            check=False,
        )

    def created(self) -> list[dict[str, Any]]:
        """Return what the ledger says of each container, in order."""
        (file,) = (self.state / "sessions").glob("*/events.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        return [line["body"] for line in lines if line["type"] == "sandbox.created"]


@pytest.fixture
def paths(tmp_path: Path, new_state: Callable[[], Path]) -> Paths:
    """Return both folders."""
    return Paths(tmp_path, new_state())


@as_root
@pytest.mark.engine
@pytest.mark.parametrize("access", ["stage", "read"])
def test_where_the_engine_has_another_folder_at_that_path_the_runners_is_copied(
    paths: Paths, access: str
) -> None:
    """The mount is tried, the kernel refuses it, and a copy of what the runner opened takes its place."""
    ran = paths.run(access, elsewhere=True)

    first, last = paths.created()
    assert ran.returncode == 0, ran.stderr
    assert "the runner's" in ran.stderr
    assert "the engine's" not in ran.stderr
    assert first["stage_strategy"] in ("overlay", "readonly")
    assert last["stage_strategy"] == "copy"
    assert last["stage_reason"].startswith("the engine refused a mount")
    assert "the workspace travels as a copy: the engine refused a mount" in ran.stderr
    assert [path.name for path in paths.workspace.iterdir()] == ["which.txt"]


@as_root
@pytest.mark.engine
def test_where_the_engine_has_the_same_folder_it_is_mounted(paths: Paths) -> None:
    """The twin: nothing is copied."""
    ran = paths.run("stage", elsewhere=False)

    assert ran.returncode == 0, ran.stderr
    assert [created["stage_strategy"] for created in paths.created()] == ["overlay"]
    assert "travels as a copy" not in ran.stderr


@as_root
@pytest.mark.engine
def test_direct_is_refused_where_the_engine_has_another_folder_at_that_path(paths: Paths) -> None:
    """A bind has no copy to fall back to: exit 4, and neither folder is touched; the twin writes."""
    refused = paths.run("direct", elsewhere=True)
    names = sorted(path.name for path in (*paths.workspace.iterdir(), *paths.other.iterdir()))
    for session in (paths.state / "sessions").iterdir():
        session.rename(paths.folder / session.name)
    allowed = paths.run("direct", elsewhere=False)

    assert refused.returncode == 4
    assert "`access: direct` cannot be had" in refused.stderr
    assert "is another folder" in refused.stderr
    assert names == ["which.txt", "which.txt"]
    assert allowed.returncode == 0, allowed.stderr
    assert sorted(path.name for path in paths.workspace.iterdir()) == ["made.txt", "which.txt"]


def test_a_name_leads_to_the_folder_that_was_opened_whatever_takes_its_place(tmp_path: Path) -> None:
    """A folder that is moved away, and a link in its place: the name still means the one that was opened."""
    real, fake = tmp_path / "real", tmp_path / "fake"
    real.mkdir()
    fake.mkdir()
    names = NeutralNames.make({"XDG_RUNTIME_DIR": str(tmp_path)})
    name = names.name(real)

    real.rename(tmp_path / "moved")
    real.symlink_to(fake)

    try:
        assert name.stat().st_ino == (tmp_path / "moved").stat().st_ino
        assert name.stat().st_ino != fake.stat().st_ino
    finally:
        names.remove()


def test_another_process_with_the_same_number_is_not_taken_for_the_runner(tmp_path: Path) -> None:
    """The first link leads through the private folder itself: who has it not open finds no second one."""
    names = NeutralNames.make({"XDG_RUNTIME_DIR": str(tmp_path)})
    try:
        name = names.name(tmp_path)
        gate, inner = name.readlink().parent, name.readlink().name

        assert gate.parent == Path(f"/proc/{os.getpid()}/fd")
        assert gate.stat().st_ino == name.parent.stat().st_ino
        assert len(inner) == 32
        assert (name.parent / inner).readlink().parent == gate.parent
    finally:
        names.remove()


def test_a_workspace_that_was_exchanged_since_it_was_looked_at_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    workspace = open_workspace(tmp_path / "work", state=tmp_path / "state")
    (tmp_path / "work").rename(tmp_path / "old")
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "old")
    names = NeutralNames.make({"XDG_RUNTIME_DIR": str(tmp_path)})

    try:
        with pytest.raises(SandboxError, match="another folder stands at"):
            names.name(workspace.path, expected=workspace.identity)
        with pytest.raises(SandboxError, match="cannot be opened"):
            names.name(tmp_path / "link", expected=workspace.identity)
    finally:
        names.remove()
