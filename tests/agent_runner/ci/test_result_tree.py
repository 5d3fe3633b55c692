"""The folder that checks look at: nothing is written through a link; its label goes when it has gone."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.result_tree import _new_folder, _put, sweep_trees
from agent_runner.errors import InvalidInputError
from agent_runner.lineage import labels_of, removed, wrote_unreviewed
from policies.grant import Grant
from sandbox.stage import Change, ChangeKind
from sandbox.stage.beneath import Beneath
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.sides import EntryKind, Side
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from pathlib import Path


def added(path: str) -> Change:
    side = Side(kind=EntryKind.FILE, mode=0o4755, size=1, digest="", target="")
    return Change(path=path, kind=ChangeKind.ADDED, before=None, after=side)


def test_a_change_below_a_link_is_refused_and_a_plain_one_is_written_without_setuid(tmp_path: Path) -> None:
    upper, tree, outside = tmp_path / "upper", tmp_path / "tree", tmp_path / "outside"
    for folder in (upper / "way", upper / "plain", tree / "plain", outside):
        folder.mkdir(parents=True)
    for name in ("way/x", "plain/x"):
        (upper / name).write_text("new")
    (tree / "way").symlink_to(outside)

    with Beneath.open(upper) as source:
        with pytest.raises(PathRefusedError):
            _put(source, added("way/x"), tree)
        _put(source, added("plain/x"), tree)

    assert not list(outside.iterdir())
    assert (tree / "plain/x").read_text() == "new"
    assert (tree / "plain/x").stat().st_mode & 0o7777 == 0o755


def test_the_label_of_a_result_goes_only_once_the_folder_is_gone(tmp_path: Path) -> None:
    state, folder = tmp_path / "state", tmp_path / "result"
    state.mkdir(mode=0o700)
    folder.mkdir()
    identity = identity_of(folder)
    wrote_unreviewed(state, identity, "0123456789ab", Grant.FILES_EXEC.capabilities, why="a test")

    with pytest.raises(InvalidInputError, match="is still there"):
        removed(state, identity)
    held = labels_of(state).read(identity).capabilities
    folder.rmdir()
    removed(state, identity)

    assert held == Grant.FILES_EXEC.capabilities
    assert not labels_of(state).read(identity).contributions


def test_what_a_killed_process_left_is_swept_and_a_folder_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both hold a label; only the dead one's folder and label go, and another state folder's stays.

    So does the label of a folder that is gone already; a user's folder that is gone keeps its own.
    """
    temporary, state, other = (tmp_path / name for name in ("temporary", "state", "other"))
    for folder in (temporary, state, other):
        folder.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    made = {name: _new_folder(at) for name, at in (("dead", state), ("used", state), ("other", other))}
    identities = {name: identity_of(folder) for name, (folder, _) in made.items()}
    for identity in identities.values():
        wrote_unreviewed(state, identity, "0123456789ab", Grant.FILES_EXEC.capabilities, why="a test")
    for name in ("dead", "other"):
        os.close(made[name][1])
    half_gone, moved = tmp_path / f"{made['dead'][0].name}-half", tmp_path / "a-users"
    for folder in (half_gone, moved):
        folder.mkdir()
        identities[folder.name] = identity_of(folder)
        wrote_unreviewed(state, identity_of(folder), "0123456789ab", Grant.FILES.capabilities, why="a test")
        folder.rmdir()

    swept = sweep_trees(state)

    os.close(made["used"][1])
    left = {name: folder.exists() for name, (folder, _) in made.items()}
    assert (swept, left) == (1, {"dead": False, "used": True, "other": True})
    labels = labels_of(state)
    assert not labels.read(identities["dead"]).contributions
    assert labels.read(identities["used"]).contributions
    assert not labels.read(identities[half_gone.name]).contributions
    assert labels.read(identities[moved.name]).contributions
