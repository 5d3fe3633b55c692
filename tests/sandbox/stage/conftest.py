"""Make workspaces, stages and real overlay mounts for the tests of this folder."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.stage import Access, Overlay, ReadOnly, plan_stage
from sandbox.stage.discard import remove_tree
from sandbox.stage.matching import Globs
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.stage import StagePlan

MOUNT = "/usr/bin/mount"
UNMOUNT = "/usr/bin/umount"


@dataclass(frozen=True)
class Yard:
    """A workspace and a state folder, apart from each other."""

    top: Path

    @property
    def workspace(self) -> Path:
        """The user's folder."""
        return self.top / "workspace"

    @property
    def session(self) -> Path:
        """The session's folder in the state folder."""
        return self.top / "state" / "sessions" / "s1"

    def again(self) -> Yard:
        """Return a fresh yard beside this one, for a test that runs many times."""
        made = Yard(self.top.parent / secrets.token_hex(6))
        made.workspace.mkdir(parents=True)
        made.session.mkdir(parents=True)
        return made

    def fill(self, files: dict[str, str], *, below: Path | None = None) -> None:
        """Write `files` (relative path to text) below the workspace, or another folder."""
        for path, text in files.items():
            target = (below or self.workspace) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

    def plan(
        self,
        *hide: str,
        access: Access = Access.STAGE,
        uid: int | None = None,
        executable: bool = True,
        engine_local: bool = True,
    ) -> StagePlan:
        """Plan a stage the way a session does."""
        owner = os.geteuid() if uid is None else uid
        return plan_stage(
            open_workspace(self.workspace, state=self.top / "state"),
            self.session,
            access=access,
            hide=Globs.parse(hide),
            uid=owner,
            gid=owner,
            engine_obstacle="" if engine_local else "the engine is on another machine",
            executable=executable,
        )

    def patterns(self, *patterns: str) -> Globs:
        """Return a matcher for patterns as a policy has them."""
        return Globs.parse(patterns)

    def as_user(self, uid: int, action: Callable[[], str]) -> str:
        """Run `action` in a child process as an ordinary user, and return what it returned."""
        for folder in (self.top, self.top.parent):
            folder.chmod(0o755)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                os.write(writer, action().encode())
                code = 0
            except BaseException:  # noqa: BLE001 - a child process that must not go on as a second pytest
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader) as stream:
            said = stream.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return said

    @contextmanager
    def overlay(self, options: str) -> Iterator[Path]:
        """Mount options as the engine would."""
        point = self.top / "mounted"
        point.mkdir(exist_ok=True)
        with overlay(options, point):
            yield point

    @contextmanager
    def overlay_of(self, session: Path) -> Iterator[Path]:
        """Mount a session's stage once more, without hidden paths."""
        stage = session / "stage"
        layers = f"lowerdir={self.workspace},upperdir={stage}/upper,workdir={stage}/work"
        with self.overlay(f"{layers},userxattr,metacopy=off,index=off") as point:
            yield point

    @contextmanager
    def mounted(self, plan: StagePlan) -> Iterator[Path]:
        """Mount a plan as the engine would, and take the mount away again."""
        assert isinstance(plan, Overlay | ReadOnly)
        with self.overlay(plan.options) as point:
            yield point


@contextmanager
def overlay(options: str, point: Path) -> Iterator[None]:
    """Mount an overlay at `point`."""
    subprocess.run([MOUNT, "-t", "overlay", "overlay", "-o", options, str(point)], check=True)
    try:
        yield
    finally:
        subprocess.run([UNMOUNT, str(point)], check=True)


@pytest.fixture
def yard() -> Iterator[Yard]:
    """An empty workspace and no session yet, where an ordinary user can reach them.

    Not in pytest's own temporary folder, which every other run of pytest closes to ordinary users again.
    """
    top = Path(tempfile.mkdtemp(prefix="pairlock-stage-"))
    made = Yard(top / "yard")
    made.workspace.mkdir(parents=True)
    made.session.mkdir(parents=True)
    yield made
    assert remove_tree(top) == ()


@pytest.fixture
def fresh_yard(yard: Yard) -> Yard:
    """A yard from which `again` makes one for each example of a property."""
    return yard
