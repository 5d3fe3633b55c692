from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sandbox.stage.discard import discard, remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, int, bytes]]:
    """Return everything that a user could notice: modes, owners, times, content."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def test_a_discarded_session_leaves_the_workspace_as_it_was(yard: Yard) -> None:
    """Byte for byte, times included."""
    yard.fill({"a": "1", "d/b": "2", ".env": "3"})
    before = snapshot(yard.workspace)
    with yard.mounted(yard.plan(".env")) as inside:
        (inside / "a").write_text("agent")
        (inside / "d/b").unlink()
        (inside / "d").rmdir()
        (inside / "n").mkdir()

    gone = discard(yard.session)

    assert gone.leftover is None
    assert list(yard.session.iterdir()) == []
    assert snapshot(yard.workspace) == before


def test_symlinks_in_a_discarded_stage_are_not_followed(yard: Yard) -> None:
    """B20: clean-up must not reach what the agent points at."""
    yard.fill({"canary": "alive"}, below=yard.top)
    with yard.mounted(yard.plan()) as inside:
        (inside / "out").symlink_to(yard.top)
        (inside / "d").mkdir()
        (inside / "d/out").symlink_to(yard.top / "canary")

    discard(yard.session)

    assert (yard.top / "canary").read_text() == "alive"
    assert not (yard.session / "stage").exists()


def test_a_tree_of_any_depth_and_any_modes_goes(yard: Yard) -> None:
    """Tried as an ordinary user, whom permissions bind."""
    doomed = yard.top / "own" / "doomed"
    doomed.mkdir(parents=True)
    here = os.open(doomed, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=here)
        step = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.fchown(step, 65534, 65534)
        os.close(here)
        here = step
    os.close(here)
    yard.fill({"locked/inner/file": "x", "plain": "y"}, below=doomed)
    for path in (doomed.parent, doomed, doomed / "locked", doomed / "locked/inner"):
        os.chown(path, 65534, 65534)
    (doomed / "locked/inner").chmod(0o500)
    (doomed / "locked").chmod(0)

    said = yard.as_user(65534, lambda: str(remove_tree(doomed)))

    assert said == "()"
    assert not doomed.exists()


def test_roots_leftovers_are_named_for_the_one_who_can_remove_them(yard: Yard) -> None:
    """The kernel's work folder belongs to root; an ordinary user is told which folder is left."""
    left = yard.session / "stage" / "work" / "work"
    left.mkdir(parents=True)
    (left / "index").mkdir()
    (left / "index/x").touch()
    for folder in (
        yard.session.parent.parent,
        yard.session.parent,
        yard.session,
        left.parent.parent,
        left.parent,
    ):
        os.chown(folder, 65534, 65534)

    def act() -> str:
        gone = discard(yard.session)
        return f"{gone.leftover} {gone.names}"

    said = yard.as_user(65534, act)

    assert said == f"{yard.session}/stage.discarded ('work',)"
    assert discard(yard.session).leftover is None
    assert list(yard.session.iterdir()) == []
