"""Outputs of tasks are copies of plain files beneath what an agent left, and nothing that a link leads to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.reading import parse_task, read_task
from agent_runner.ci.task_outputs import kept_outputs
from agent_runner.errors import InvalidInputError
from policies.errors import PolicyFileError
from tests.agent_runner.ci.task_stand import TASK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.ci.task_stand import Project


def test_files_are_copied_and_links_folders_pipes_and_what_is_not_there_are_told(tmp_path: Path) -> None:
    tree, target = tmp_path / "tree", tmp_path / "kept"
    (tree / "made").mkdir(parents=True)
    (tree / "made/plot.svg").write_text("<svg/>")
    (tree / "made/plot.svg").chmod(0o4777)
    (tmp_path / "secret").write_text("key")
    (tree / "link").symlink_to(tmp_path / "secret")
    (tree / "way").symlink_to(tmp_path)
    os.mkfifo(tree / "pipe")
    paths = ["made/plot.svg", "link", "way/secret", "made", "pipe", "absent"]

    found = [*kept_outputs(paths, tree, target)]

    assert [check.code for check in found] == [0, 1, 1, 1, 1, 1]
    assert all(check.why for check in found[1:])
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["plot.svg"]
    assert (target / "made/plot.svg").read_text() == "<svg/>"
    assert (target / "made/plot.svg").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", "x\ny"])
def test_an_output_that_is_no_path_of_a_workspace_is_refused(path: str) -> None:
    with pytest.raises(PolicyFileError) as refused:
        parse_task(f"{TASK}outputs: [{path!r}]\n".replace("'", '"'), origin="t.yaml")

    assert "is no path of a workspace" in str(refused.value.problems[0])


def test_outputs_of_a_task_that_keeps_nothing_are_refused(project: Project) -> None:
    project.write("policies/mend.yaml", "version: 1\nname: read\ngrant: [files]\nfiles: {access: read}\n")

    with pytest.raises(InvalidInputError, match="asks for files, and its policy keeps none"):
        read_task(project.task("outputs: [a]\n"))
