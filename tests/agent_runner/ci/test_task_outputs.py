"""Outputs of tasks are copies of plain files beneath what an agent left, and nothing that a link leads to."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.reading import parse_task, read_task
from agent_runner.ci.task_outputs import Copies, kept_outputs, remove_outputs
from agent_runner.errors import InvalidInputError
from agent_runner.lineage import labels_of, wrote_unreviewed
from policies.errors import PolicyFileError
from policies.grant import Grant
from sandbox.workspace import identity_of
from tests.agent_runner.ci.task_stand import TASK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.ci.task_stand import Project


def copies_in(tmp_path: Path) -> Copies:
    """Return where copies go, with a state folder that knows no label."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    return Copies(made=tmp_path / "made", kept=tmp_path / "task/outputs", state=state)


def test_files_are_copied_and_links_folders_pipes_and_what_is_not_there_are_told(tmp_path: Path) -> None:
    tree, target = tmp_path / "tree", tmp_path / "made"
    (tree / "made").mkdir(parents=True)
    (tree / "made/plot.svg").write_text("<svg/>")
    (tree / "made/plot.svg").chmod(0o4777)
    (tmp_path / "secret").write_text("key")
    (tree / "link").symlink_to(tmp_path / "secret")
    (tree / "way").symlink_to(tmp_path)
    os.mkfifo(tree / "pipe")
    paths = ["made/plot.svg", "link", "way/secret", "made", "pipe", "absent"]

    found = [*kept_outputs(paths, tree, copies_in(tmp_path))]

    assert [check.code for check in found] == [0, 1, 1, 1, 1, 1]
    assert all(check.why for check in found[1:])
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["plot.svg"]
    assert (target / "made/plot.svg").read_text() == "<svg/>"
    assert (target / "made/plot.svg").stat().st_mode & 0o7777 == 0o600


def test_a_copy_has_the_label_of_what_it_was_made_of_until_the_folder_goes(tmp_path: Path) -> None:
    """By the folder, wherever it is moved to; one of which nothing was copied is not made."""
    copies, tree, plain = copies_in(tmp_path), tmp_path / "tree", tmp_path / "plain"
    for folder in (tree, plain):
        folder.mkdir()
        (folder / "tool.sh").write_text("id")
    held = Grant.FILES_NETWORK.capabilities
    wrote_unreviewed(copies.state, identity_of(tree), "0123456789ab", held, why="a test")
    other = replace(copies, made=tmp_path / "other", kept=tmp_path / "other")

    found = [*kept_outputs(["absent"], tree, copies)]
    is_made = copies.made.exists()
    found += [*kept_outputs(["tool.sh"], tree, copies), *kept_outputs(["tool.sh"], plain, other)]
    labels = labels_of(copies.state)
    ((labelled, label),) = [each for each in labels.all() if each[0].inode == identity_of(copies.made).inode]
    copies.kept.parent.mkdir()
    copies.made.rename(copies.kept)
    moved = labels.read(identity_of(copies.kept)).capabilities
    remove_outputs(copies.kept, copies.state)

    assert ([check.code for check in found], is_made) == ([1, 0, 0], False)
    assert (label.capabilities, moved, labelled.path) == (held, held, str(copies.kept))
    assert not labels.read(identity_of(other.made)).contributions
    assert [folder.path for folder, label in labels.all() if label.contributions] == [str(tree)]
    assert not copies.kept.exists()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", "x\ny"])
def test_an_output_that_is_no_path_of_a_workspace_is_refused(path: str) -> None:
    with pytest.raises(PolicyFileError) as refused:
        parse_task(f"{TASK}outputs: [{path!r}]\n".replace("'", '"'), origin="t.yaml")

    assert "is no path of a workspace" in str(refused.value.problems[0])


def test_outputs_of_a_task_that_keeps_nothing_are_refused(project: Project) -> None:
    project.write("policies/mend.yaml", "version: 1\nname: read\ngrant: [files]\nfiles: {access: read}\n")

    with pytest.raises(InvalidInputError, match="asks for files, and its policy keeps none"):
        read_task(project.task("outputs: [a]\n"))
