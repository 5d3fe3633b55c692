"""Workspaces that tasks describe: which commits may be named; inputs are copies."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.ci.inputs import copy_inputs
from agent_runner.ci.made_workspace import with_workspace
from agent_runner.ci.reading import parse_task, read_task, read_tasks
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.lineage import labels_of, require_lineage, wrote_unreviewed
from agent_runner.trust import trust
from policies.errors import PolicyFileError
from policies.grant import Grant
from sandbox.workspace import identity_of, open_workspace
from tests.agent_runner.ci.task_stand import TASK
from tests.promises.pairlock import pairlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.workspace import Workspace
    from tests.agent_runner.ci.task_stand import Project

BASE = TASK.replace("workspace: ../project\n", "")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCHES = """\
version: 1
name: mend
grant: [files, network]
network: {allow: [{host: git.example.com, methods: [GET]}]}
commands: {allow: ["files *"]}
"""


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/x", "file:///etc", "ssh://a.example/x", "git@a.example:x", "ext::sh -c id",
        "--upload-pack=x",
        "https://", "https://a.example", "https://a.example/", "https://token@a.example/x",
        "https://u:p@a.example/x",
        "https://a.example/x?y", "https://a.example/x#y", "https://a.example/x y", "https://a.example:99999/x",
    ],
)  # fmt: skip
def test_an_address_is_https_with_a_host_and_a_path_alone(url: str) -> None:
    text = f"{BASE}checkout: {{git: {json.dumps(url)}, commit: {COMMIT}}}\n"

    with pytest.raises(PolicyFileError, match="is no address"):
        parse_task(text, origin="t.yaml")


@pytest.mark.parametrize("commit", ["main", "v1.0", COMMIT[:12], COMMIT.upper(), "-" * 40, f"{COMMIT}^"])
def test_a_commit_is_a_whole_hash(commit: str) -> None:
    with pytest.raises(PolicyFileError, match="is no commit"):
        parse_task(f"{BASE}checkout: {{git: https://a.example/x, commit: {commit!r}}}\n", origin="t.yaml")


def test_a_commit_is_fetched_only_where_the_policy_reaches_its_host(project: Project) -> None:
    more = f"checkout: {{git: https://git.example.com/x, commit: {COMMIT}}}\n"
    with pytest.raises(RefusedError, match=r"does not let `git.example.com` be reached"):
        read_task(project.task(more, base=BASE))

    project.write("policies/mend.yaml", FETCHES)
    task = read_task(project.task(more, base=BASE))
    with pytest.raises(RefusedError, match=r"does not let `evil.example.com` be reached"):
        read_task(project.task(more.replace("git.e", "evil.e"), base=BASE))

    assert (task.workspace, task.file.checkout is not None) == (None, True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "names no `workspace`"),
        ("workspace: ../project\ninputs: [a]\n", "names `workspace` and `inputs`"),
        ("inputs: [a/x, b/x]\n", "two `inputs` are called `x`"),
    ],
)
def test_a_task_has_one_kind_of_workspace(project: Project, more: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_task(project.task(more, base=BASE))

    assert said in refused.value.message


def test_inputs_are_plain_files_that_no_link_leads_to(tmp_path: Path) -> None:
    folder, target = tmp_path / "tasks", tmp_path / "target"
    for each in (folder, target, tmp_path / "data"):
        each.mkdir()
    (tmp_path / "data/sales.csv").write_text("1\n")
    (tmp_path / "link.csv").symlink_to("data/sales.csv")
    (tmp_path / "way").symlink_to("data")
    os.mkfifo(tmp_path / "pipe")

    for bad, said in (
        ("link.csv", "symlink"), ("way/sales.csv", "symlink"), ("pipe", "plain"),
        ("data", "cannot be read"), ("none", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=said):
            copy_inputs([f"../{bad}"], folder, target)
    copy_inputs(["../data/sales.csv"], folder, target)

    assert [path.name for path in target.iterdir()] == ["sales.csv"]


def test_a_copy_that_cannot_be_written_is_no_fault_of_the_input(tmp_path: Path) -> None:
    """A full disk was told as `input cannot be read`, wrong usage, and not tried again."""
    (tmp_path / "sales.csv").write_text("1\n")

    with pytest.raises(FileNotFoundError) as raised:
        copy_inputs(["sales.csv"], tmp_path, tmp_path / "gone")

    assert raised.value.filename == str(tmp_path / "gone/sales.csv")


def test_what_a_killed_process_left_is_replaced(project: Project, tmp_path: Path) -> None:
    task = read_task(project.task("inputs: [../project/app.txt]\n", base=BASE))
    target = tmp_path / "made"
    target.mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (target / "old").write_text("x")

    made = asyncio.run(with_workspace(task, target, state=tmp_path / "state"))

    assert made.workspace == target
    assert [path.name for path in target.iterdir()] == ["app.txt"]


def test_inputs_take_along_what_came_while_they_were_copied(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that runs there fetched before the last file was read."""
    state, target, held = tmp_path / "state", tmp_path / "made", Grant.FILES_NETWORK.capabilities
    state.mkdir(mode=0o700)
    source = identity_of(project.workspace)

    def copy_and_fetch(*arguments: Any) -> None:
        wrote_unreviewed(state, source, "0123456789ab", held, why="a test")
        copy_inputs(*arguments)

    monkeypatch.setattr("agent_runner.ci.made_workspace.copy_inputs", copy_and_fetch)
    task = read_task(project.task("inputs: [../project/app.txt]\n", base=BASE))
    asyncio.run(with_workspace(task, target, state=state))

    assert labels_of(state).read(identity_of(target)).capabilities == held


def test_inputs_take_the_labels_of_where_they_were_along(project: Project, tmp_path: Path) -> None:
    """What a session with `network` wrote is not run with `exec` because it was copied; elsewhere it may."""
    state, made = tmp_path / "state", tmp_path / "made"
    state.mkdir(mode=0o700)
    project.write("clean/app.txt", "x")
    held = Grant.FILES_NETWORK.capabilities
    wrote_unreviewed(state, identity_of(project.workspace), "0123456789ab", held, why="a test")

    def workspace(path: str) -> Workspace:
        task = read_task(project.task(f"inputs: [{path}]\n", base=BASE))
        asyncio.run(with_workspace(task, made, state=state))
        return open_workspace(made, state=state)

    with pytest.raises(RefusedError):
        require_lineage(state, workspace("../project/app.txt"), Grant.FILES_EXEC)
    require_lineage(state, workspace("../clean/app.txt"), Grant.FILES_EXEC)


@pytest.mark.engine
def test_an_agent_works_on_copies_of_the_inputs_and_its_changes_can_be_taken(
    project: Project, new_state: Callable[[], Path]
) -> None:
    project.script('["files write app.txt --content mended"]', '["finish --status done ok"]')
    path = project.task("inputs: [../project/app.txt]\noutputs: [app.txt]\n", base=BASE)
    state = new_state()
    trust(state, read_tasks([path])[0].closure)

    said = pairlock("ci", str(path), "-o", str(project.folder / "results"), "--json", state=state)

    assert said.returncode == 0, said.stdout + said.stderr
    task = said.json()["tasks"][0]
    diff = pairlock("diff", task["session"], state=state)
    assert "+mended" in diff.stdout
    assert (project.folder / "results/mend/outputs/app.txt").read_text() == "mended"
    assert (project.workspace / "app.txt").read_text() == "broken\n"
