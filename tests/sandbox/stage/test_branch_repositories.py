"""`apply --to-branch` on each kind of repository that people have: a sound commit, or one plain line."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.branch import BranchResult, commit_to_branch
from sandbox.stage.changes import compute_changes
from sandbox.stage.gitcalls import BranchError
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.test_branch import TEXT, git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Yard


def repository(folder: Path, *options: str) -> None:
    git(folder, "init", "-q", "-b", "main", *options)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "start")


def commit(yard: Yard, act: Callable[[Path], object], *chosen: str, branch: str = "agent") -> BranchResult:
    with yard.mounted(yard.plan()) as inside:
        act(inside)
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=yard.patterns(".git"))
        wanted = yard.patterns(*chosen) if chosen else None
        return commit_to_branch(stage, found.changes, branch=branch, text=TEXT, chosen=wanted)


def new_file(inside: Path) -> None:
    (inside / "new").write_text("n\n")


def names_on(folder: Path, branch: str = "agent") -> list[str]:
    return git(folder, "ls-tree", "-r", "-z", "--name-only", branch).split("\0")[:-1]


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_a_repository_of_either_hash_gets_a_sound_commit(yard: Yard, kind: str) -> None:
    yard.fill({"a": "1\n", "d/b": "2\n"})
    repository(yard.workspace, f"--object-format={kind}")

    result = commit(yard, new_file)

    git(yard.workspace, "fsck", "--strict")
    assert git(yard.workspace, "rev-parse", "agent").strip() == result.commit
    assert len(result.commit) == {"sha1": 40, "sha256": 64}[kind]
    assert names_on(yard.workspace) == ["a", "d/b", "new"]


def test_a_linked_work_tree_commits_to_its_repository(yard: Yard) -> None:
    main = yard.top / "main"
    main.mkdir()
    yard.fill({"a": "1\n"}, below=main)
    repository(main)
    yard.workspace.rmdir()
    git(main, "worktree", "add", "-q", "-b", "side", str(yard.workspace))

    commit(yard, new_file)

    assert names_on(main) == ["a", "new"]
    assert git(main, "rev-parse", "agent^") == git(main, "rev-parse", "side")


def test_a_detached_head_and_a_locked_index_are_left_as_they_are(yard: Yard) -> None:
    yard.fill({"a": "1\n"})
    repository(yard.workspace)
    git(yard.workspace, "checkout", "-q", "--detach")
    lock = yard.workspace / ".git/index.lock"
    lock.write_text("somebody is at work")

    commit(yard, new_file)

    assert lock.read_text() == "somebody is at work"
    assert git(yard.workspace, "branch", "--show-current") == ""
    assert names_on(yard.workspace) == ["a", "new"]


def test_what_a_sparse_checkout_leaves_out_stays_in_the_commit(yard: Yard) -> None:
    yard.fill({"a": "1\n", "out/b": "2\n", "in/c": "3\n"})
    repository(yard.workspace)
    git(yard.workspace, "sparse-checkout", "set", "in")
    assert not (yard.workspace / "out").exists()

    commit(yard, new_file)

    assert names_on(yard.workspace) == ["a", "in/c", "new", "out/b"]


def test_signing_and_a_missing_identity_stop_nothing(yard: Yard) -> None:
    """The commit is made by hand, and its reflog's line by a git that knows nobody."""
    yard.fill({"a": "1\n"})
    repository(yard.workspace)
    canary = yard.top / "canary"
    signer = yard.top / "signer"
    signer.write_text(f"#!/bin/sh\ntouch {canary}\n")
    signer.chmod(0o755)
    settings = {"commit.gpgSign": "true", "gpg.program": str(signer), "user.useConfigOnly": "true"}
    for key, value in settings.items():
        git(yard.workspace, "config", key, value)

    commit(yard, new_file)

    assert names_on(yard.workspace) == ["a", "new"]
    assert not canary.exists()


def with_submodule(yard: Yard) -> None:
    inner = yard.top / "inner"
    inner.mkdir()
    yard.fill({"i": "1\n"}, below=inner)
    repository(inner)
    yard.fill({"a": "1\n"})
    repository(yard.workspace)
    git(yard.workspace, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    git(yard.workspace, "commit", "-qm", "with a submodule")


def test_what_changed_in_a_submodule_is_not_committed_to_the_repository_around_it(yard: Yard) -> None:
    """A tree cannot hold both; its own repository takes it when it is the workspace."""
    with_submodule(yard)

    def act(inside: Path) -> None:
        new_file(inside)
        yard.fill({"sub/i": "2\n", "sub/j": "3\n"}, below=inside)

    result = commit(yard, act)

    git(yard.workspace, "fsck", "--strict")
    assert result.committed == ("new",)
    assert {item.path: item.code.value for item in result.not_committed} == {
        "sub/i": "in-the-way",
        "sub/j": "in-the-way",
    }
    assert git(yard.workspace, "rev-parse", "agent:sub") == git(yard.workspace, "rev-parse", "main:sub")


def test_a_submodule_as_the_workspace_gets_the_commit(yard: Yard) -> None:
    with_submodule(yard)
    outer = yard.workspace.rename(yard.top / "outer")
    yard.workspace.symlink_to(outer / "sub")

    commit(yard, new_file)

    assert names_on(outer / "sub") == ["i", "new"]
    assert git(outer, "branch", "--list", "agent") == ""


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_a_new_file_below_a_committed_one_that_was_not_chosen_is_refused(yard: Yard, kind: str) -> None:
    """The twin: together with what is in its way it is committed, in a sound tree."""
    yard.fill({"a": "1\n"})
    if kind == "file":
        yard.fill({"here": "1\n"})
    else:
        (yard.workspace / "here").symlink_to("a")
    repository(yard.workspace)

    def act(inside: Path) -> None:
        new_file(inside)
        (inside / "here").unlink()
        yard.fill({"here/f": "2\n"}, below=inside)

    part = commit(yard, act, "here/*", "new", branch="part")
    with open_stage(yard.session) as stage:
        whole = commit_to_branch(stage, compute_changes(stage).changes, branch="whole", text=TEXT)

    git(yard.workspace, "fsck", "--strict")
    assert (part.committed, [item.path for item in part.not_committed]) == (("new",), ["here/f"])
    assert names_on(yard.workspace, "part") == ["a", "here", "new"]
    assert whole.not_committed == ()
    assert names_on(yard.workspace, "whole") == ["a", "here/f", "new"]


def test_a_folder_that_became_a_file_takes_its_place(yard: Yard) -> None:
    yard.fill({"d/x": "1\n", "d/y/z": "1\n", "a": "1\n"})
    repository(yard.workspace)

    def act(inside: Path) -> None:
        shutil.rmtree(inside / "d")
        (inside / "d").write_text("a file now\n")

    commit(yard, act)

    git(yard.workspace, "fsck", "--strict")
    assert names_on(yard.workspace) == ["a", "d"]


def test_a_repository_without_a_commit_and_a_bare_one_are_told_plainly(yard: Yard) -> None:
    git(yard.workspace, "init", "-q")

    with pytest.raises(BranchError, match="has no commit yet"):
        commit(yard, new_file)

    bare = yard.again()
    git(bare.workspace, "init", "-q", "--bare")
    with pytest.raises(BranchError, match="has no work tree"):
        commit(bare, new_file)


def test_a_branch_below_which_git_keeps_others_is_refused_as_such(yard: Yard) -> None:
    yard.fill({"a": "1\n"})
    repository(yard.workspace)
    git(yard.workspace, "branch", "agent/one")

    with pytest.raises(BranchError, match="branches below `agent` exist"):
        commit(yard, new_file)
