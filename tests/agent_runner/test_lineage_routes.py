"""Every way to reach a labelled folder under another name leads to its label; what does not, the docs say."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from agent_runner.lineage import endorse, labels_of, require_lineage, wrote_unreviewed
from agent_runner.lineage_beside import require_lineage_beside
from agent_runner.lineage_mounts import Mounts
from agent_runner.lineage_places import Place, overlap, unreviewed
from policies.capability import Capability
from policies.grant import Grant
from policies.lineage import Contribution, Label
from sandbox.workspace import identity_of, open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FETCHER = "0123456789ab"


@dataclass
class Ground:
    """Folders, one of which is labelled with what files and network left there."""

    top: Path
    mounts: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        for name in ("project/sub/deep", "elsewhere/sub", "other"):
            (self.top / name).mkdir(parents=True)
        self.state.mkdir(mode=0o700)
        (self.project / "tool.sh").write_text("echo fetched\n")
        (self.project / "sub" / "tool.sh").write_text("echo fetched\n")
        held = Grant.FILES_NETWORK.capabilities
        wrote_unreviewed(self.state, identity_of(self.project), FETCHER, held, why="a test")

    @property
    def project(self) -> Path:
        """The labelled folder."""
        return self.top / "project"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.top.parent / "state"

    def mounted(self, what: Path, where: Path) -> Path:
        """Show one folder at another's place."""
        self.mounts.enter_context(_bound(what, where))
        return where

    def start(self, workspace: Path, grant: Grant = Grant.FILES_EXEC) -> None:
        """Do what a session that starts there does first."""
        require_lineage(self.state, open_workspace(workspace, state=self.state), grant)

    def places(self, workspace: Path) -> list[Place]:
        """Return where the labels lie that count for a folder."""
        identity = open_workspace(workspace, state=self.state).identity
        return [found.place for found in unreviewed(labels_of(self.state), identity)]


@contextmanager
def _bound(what: Path, where: Path) -> Iterator[None]:
    subprocess.run(["/usr/bin/mount", "--bind", what, where], check=True)
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", where], check=True)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path / "ground")
    with made.mounts:
        yield made


def _linked(ground: Ground) -> Path:
    (ground.top / "link").symlink_to(ground.project)
    return ground.top / "link"


def _renamed_above(ground: Ground) -> Path:
    above = ground.top / "above"
    above.mkdir()
    ground.project.rename(above / "project")
    above.rename(ground.top / "renamed")
    return ground.top / "renamed" / "project"


def _made_again(ground: Ground) -> Path:
    shutil.rmtree(ground.project)
    ground.project.mkdir()
    return ground.project


def _moved_into(ground: Ground) -> Path:
    ground.project.rename(ground.top / "other" / "hidden")
    return ground.top / "other"


def _moved_below_a_name(ground: Ground) -> Path:
    """What is in it moved out within the workspace, and the folder itself removed."""
    (ground.project / "sub").rename(ground.top / "moved-sub")
    shutil.rmtree(ground.project)
    return ground.top


def _after_a_restart(ground: Ground) -> Path:
    """Devices have other numbers than the label says, and the folder was moved as well."""
    (label,) = labels_of(ground.state).all()
    (ground.state / "workspaces" / f"{label[0].key}.json").unlink()
    labels_of(ground.state).raise_to(replace(label[0], device=label[0].device + 7), label[1])
    return ground.project.rename(ground.top / "moved")


ROUTES: dict[str, tuple[Callable[[Ground], Path], Place]] = {
    "itself": (lambda ground: ground.project, Place.HERE),
    "a symlink to it": (_linked, Place.HERE),
    "renamed": (lambda ground: ground.project.rename(ground.top / "other" / "moved"), Place.HERE),
    "a folder above it renamed": (_renamed_above, Place.HERE),
    "a folder inside": (lambda ground: ground.project / "sub" / "deep", Place.AROUND),
    "the folder around": (lambda ground: ground.top, Place.INSIDE),
    "moved into the workspace": (_moved_into, Place.INSIDE),
    "removed and made again": (_made_again, Place.GONE),
    "taken apart in the workspace": (_moved_below_a_name, Place.GONE),
    "moved, and devices renumbered": (_after_a_restart, Place.HERE),
    "a bind mount of it": (lambda g: g.mounted(g.project, g.top / "other"), Place.HERE),
    "a bind mount of a folder inside": (
        lambda g: g.mounted(g.project / "sub", g.top / "other") / "deep",
        Place.AROUND,
    ),
    "a bind mount of the folder around": (
        lambda g: g.mounted(g.top, _new(g, "mounted")) / "project" / "sub",
        Place.AROUND,
    ),
    "mounted inside the workspace": (
        lambda g: g.mounted(g.project, g.top / "elsewhere" / "sub").parent,
        Place.INSIDE,
    ),
    "a part of it mounted inside the workspace": (
        lambda g: g.mounted(g.project / "sub", g.top / "elsewhere" / "sub").parent,
        Place.AROUND,
    ),
}


def _new(ground: Ground, name: str) -> Path:
    folder = ground.top.parent / name
    folder.mkdir()
    return folder


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_to_a_labelled_folder_leads_to_its_label(ground: Ground, route: str) -> None:
    """Its twin: `files` with `network`, which the label holds anyway, starts there."""
    lead, place = ROUTES[route]

    workspace = lead(ground)

    with pytest.raises(RefusedError, match=FETCHER):
        ground.start(workspace)
    ground.start(workspace, Grant.FILES_NETWORK)
    assert ground.places(workspace) == [place]


def test_a_route_is_closed_no_longer_once_the_folder_was_reviewed(ground: Ground) -> None:
    """The positive twin of all routes."""
    workspace = ground.mounted(ground.project, ground.top / "elsewhere" / "sub").parent
    identity = open_workspace(workspace, state=ground.state).identity

    endorse(ground.state, identity, unreviewed(labels_of(ground.state), identity))

    ground.start(workspace)
    ground.start(ground.project)


def test_a_part_that_is_mounted_is_not_reviewed_for_the_whole(ground: Ground) -> None:
    workspace = ground.mounted(ground.project / "sub", ground.top / "elsewhere" / "sub").parent
    identity = open_workspace(workspace, state=ground.state).identity

    endorse(ground.state, identity, unreviewed(labels_of(ground.state), identity))

    with pytest.raises(RefusedError):
        ground.start(ground.project)


@pytest.mark.parametrize(
    "copy",
    [
        ["cp", "-a", "project", "copied"],
        ["cp", "-al", "project", "copied"],
        ["sh", "-c", "mkdir copied && tar -C project -c . | tar -C copied -x"],
        ["sh", "-c", "git init -q project && git clone -q project copied"],
    ],
    ids=["cp", "hard links", "tar", "git clone"],
)
def test_a_copy_by_other_means_is_another_folder(ground: Ground, copy: list[str]) -> None:
    """What the docs say plainly: nothing on the host sees it. The original keeps its label."""
    subprocess.run(copy, cwd=ground.top, check=True, capture_output=True)

    ground.start(ground.top / "copied")
    with pytest.raises(RefusedError):
        ground.start(ground.project)


def test_a_new_folder_that_was_given_an_old_ones_inode_inherits_nothing(ground: Ground) -> None:
    """Where the filesystem knows when a folder was made; a folder of the same birth is the old one."""
    old = replace(identity_of(ground.top / "other"), path=str(ground.top / "was-here"))
    label = Label((Contribution("b" * 12, frozenset({Capability.NETWORK})),))
    labels_of(ground.state).raise_to(replace(old, birth_ns=old.birth_ns - 1), label)

    ground.start(ground.top / "other")

    labels_of(ground.state).raise_to(old, label)
    with pytest.raises(RefusedError, match="b" * 12):
        ground.start(ground.top / "other")


def test_a_real_inode_that_is_given_out_again_inherits_nothing(ground: Ground) -> None:
    was = os.lstat(ground.project).st_ino
    shutil.rmtree(ground.project)
    again = None
    for number in range(64):
        folder = ground.top / f"new{number}"
        folder.mkdir()
        again = folder if os.lstat(folder).st_ino == was else again

    for folder in filter(None, (again, ground.top / "new0")):
        ground.start(folder)


def test_sessions_beside_each_other_see_one_another_through_a_mount(ground: Ground) -> None:
    part = ground.mounted(ground.project / "sub", ground.top / "elsewhere" / "sub")

    assert overlap(identity_of(part / "deep"), identity_of(ground.project))
    assert overlap(identity_of(ground.project), identity_of(part.parent))
    assert not overlap(identity_of(ground.top / "other"), identity_of(ground.project))
    require_lineage_beside(
        ground.state, identity_of(part), "c" * 12, Grant.FILES_EXEC.capabilities, writes=True
    )


def test_a_table_of_mounts_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    """Spaces are octal, the last of two mounts at one place is seen, and a torn line is none."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 8:2 /old /srv/a\\040b rw - ext4 /dev/b rw\n"
        "3 1 8:3 /new /srv/a\\040b rw shared:1 - ext4 /dev/c rw\n"
        "4 1 8:4\n"
    )

    mounts = Mounts.now(table)
    seen = mounts.location("/srv/a b/x")

    assert seen is not None
    assert (seen.device, str(seen.path)) == ("8:3", "/new/x")
    assert [found.device for found in mounts.reach("/srv")] == ["8:1", "8:2", "8:3"]
    assert Mounts.now(tmp_path / "none").location("/srv") is None
