"""Workspaces that tasks describe: a commit is fetched and nothing of it runs; inputs are copies."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.made_workspace import copy_inputs, fetch_commit, with_workspace
from agent_runner.ci.reading import parse_task, read_task, read_tasks
from agent_runner.ci.task import Checkout
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.lineage import require_lineage, wrote_unreviewed
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


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(folder), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository that tries to have something run, wherever git would look for it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "code.py").write_text("print(1)\n")
    (folder / ".gitattributes").write_text("*.py filter=evil diff=evil merge=evil\n* filter=lfs\n")
    (folder / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {folder}\n')
    (folder / ".lfsconfig").write_text("[lfs]\n\turl = https://attacker.example\n")
    (folder / "link").symlink_to("/etc/passwd")
    git(folder, "add", "--all")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{COMMIT},m")
    git(folder, "commit", "--quiet", "--message", "x")
    return folder


def source(repository: Path, commit: str = "") -> Checkout:
    return Checkout.model_construct(
        git=f"file://{repository}", commit=commit or git(repository, "rev-parse", "HEAD")
    )


def fetched(given: Checkout, target: Path) -> list[str]:
    target.mkdir()
    asyncio.run(fetch_commit(given, target, protocol="file"))
    return sorted(path.name for path in target.iterdir())


def test_the_files_of_a_commit_are_there_and_nothing_ran(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters, hooks and a template of the user's own configuration, which attributes name."""
    home, ran = tmp_path / "home", tmp_path / "ran"
    hooks = home / "template/hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (hooks / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[init]\n\ttemplateDir = {home}/template\n[core]\n\thooksPath = {hooks}\n\tfsmonitor = touch {ran}\n"
        f'[filter "evil"]\n\tsmudge = touch {ran}; cat\n[filter "lfs"]\n\tsmudge = touch {ran}; cat\n'
        "[submodule]\n\trecurse = true\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {ran}")
    subprocess.run(["git", "clone", "--quiet", str(repository), str(tmp_path / "used")], check=False)
    assert ran.exists()  # of the user's own git they do run
    ran.unlink()

    names = fetched(source(repository), tmp_path / "workspace")

    assert names == [".gitattributes", ".gitmodules", ".lfsconfig", "code.py", "link", "m"]
    assert (tmp_path / "workspace/code.py").read_text() == "print(1)\n"
    assert not any((tmp_path / "workspace/m").iterdir())
    assert not ran.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".fetching-")]


def test_a_commit_that_is_not_there_or_only_a_branch_of_its_name_is_refused(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "branch", COMMIT)
    git(repository, "tag", "a" * 40)

    for number, commit in enumerate((COMMIT, "a" * 40)):
        with pytest.raises(InvalidInputError, match="cannot be fetched"):
            fetched(source(repository, commit), tmp_path / f"w{number}")
        assert not any((tmp_path / f"w{number}").iterdir())


def test_a_file_that_grows_too_large_is_not_written(repository: Path, tmp_path: Path) -> None:
    """A server decides how much it sends; zeros take a thousandth of their room on the way."""
    (repository / "zeros").write_bytes(bytes(4 * 1024 * 1024))
    git(repository, "add", "zeros")
    git(repository, "commit", "--quiet", "-m", "x")
    source = Checkout.model_construct(git=f"file://{repository}", commit=git(repository, "rev-parse", "HEAD"))
    target = tmp_path / "made"
    target.mkdir()

    with pytest.raises(InvalidInputError, match="cannot be fetched"):
        asyncio.run(fetch_commit(source, target, protocol="file", largest=1024 * 1024))

    assert not [path for path in target.iterdir() if path.stat().st_size > 1024 * 1024]
    assert not [*tmp_path.glob(".fetching-*")]


def test_submodules_that_name_a_program_are_refused(repository: Path, tmp_path: Path) -> None:
    modules = repository / ".gitmodules"
    modules.write_text(modules.read_text() + "\tupdate = !touch ran\n")
    git(repository, "commit", "--quiet", "--message", "x", ".gitmodules")

    with pytest.raises(InvalidInputError, match="cannot be fetched"):
        fetched(source(repository), tmp_path / "workspace")


@pytest.mark.parametrize("name", [".git/hooks/post-checkout", ".GIT/config", "git~1/config", "../x"])
def test_a_tree_that_would_write_into_a_repository_or_out_of_the_folder_is_refused(
    tmp_path: Path, name: str
) -> None:
    """Objects are made by hand: git itself would not add such a name."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "x").write_text("#!/bin/sh\n")
    entry = b"100755 x\0" + bytes.fromhex(git(folder, "hash-object", "-w", "x"))
    for part in reversed(name.split("/")):
        entry = entry.replace(b" x\0", f" {part}\0".encode()) if b" x\0" in entry else entry
        tree = subprocess.run(
            ["git", "-C", str(folder), "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
            input=entry, capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
        entry = b"40000 x\0" + bytes.fromhex(tree)
    git(folder, "update-ref", "HEAD", git(folder, "commit-tree", tree, "-m", "x"))

    with pytest.raises(InvalidInputError, match="cannot be fetched"):
        fetched(source(folder), tmp_path / "workspace")


def test_only_https_is_spoken_outside_of_these_tests(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="'file' not allowed"):
        asyncio.run(fetch_commit(source(repository), tmp_path))


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


def test_what_a_killed_process_left_is_replaced(project: Project, tmp_path: Path) -> None:
    task = read_task(project.task("inputs: [../project/app.txt]\n", base=BASE))
    target = tmp_path / "made"
    target.mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (target / "old").write_text("x")

    made = asyncio.run(with_workspace(task, target, state=tmp_path / "state"))

    assert made.workspace == target
    assert [path.name for path in target.iterdir()] == ["app.txt"]


def test_inputs_take_the_labels_of_where_they_were_along(project: Project, tmp_path: Path) -> None:
    """What a session with `network` wrote is not run with `exec` because it was copied; elsewhere it may."""
    state, made = tmp_path / "state", tmp_path / "made"
    state.mkdir(mode=0o700)
    project.write("clean/app.txt", "x")
    wrote_unreviewed(state, identity_of(project.workspace), "0123456789ab", Grant.FILES_NETWORK, why="a test")

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
