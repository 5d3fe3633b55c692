from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.branch import BranchError, BranchResult, CommitText, commit_to_branch
from sandbox.stage.changes import compute_changes
from sandbox.stage.opened import open_stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Yard

TEXT = CommitText(name="Ada <x>\n", email="ada@example.com", message="Do it", seconds=1_700_000_000)
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["/usr/bin/git", "-c", "user.name=u", "-c", "user.email=u@example.com", *arguments],
        cwd=folder, check=True, capture_output=True, text=True, env=ENVIRONMENT,
    ).stdout  # fmt: skip


def repository(yard: Yard) -> None:
    yard.fill(
        {"mod": "1\n", "del": "2\n", "d/x": "3\n", "d-e": "4\n", "d.f": "5\n", "todir": "6\n", "é/y": "7\n"}
    )
    git(yard.workspace, "init", "-q", "-b", "main")
    git(yard.workspace, "add", ".")
    git(yard.workspace, "commit", "-qm", "start")


def commit(yard: Yard, act: Callable[[Path], object], **fields: object) -> BranchResult:
    with yard.mounted(yard.plan()) as inside:
        act(inside)
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=yard.patterns(".git"))
        return commit_to_branch(stage, found.changes, branch=str(fields.get("branch", "agent")), text=TEXT)


def test_a_branch_holds_the_changes_and_nothing_else_moved(yard: Yard) -> None:
    repository(yard)
    before = {
        str(p): p.read_bytes() for p in yard.workspace.rglob("*") if p.is_file() and ".git" not in p.parts
    }

    def act(inside: Path) -> None:
        (inside / "mod").write_text("agent\n")
        (inside / "mod").chmod(0o755)
        (inside / "del").unlink()
        (inside / "todir").unlink()
        yard.fill({"todir/deep/f": "new\n", "d/z": "z\n", 'odd "name\n': "o\n"}, below=inside)
        (inside / "link").symlink_to("mod")
        shutil.move(inside / "é", inside / "moved")

    result = commit(yard, act)

    assert result.not_committed == ()
    git(yard.workspace, "fsck", "--strict")
    assert git(yard.workspace, "ls-tree", "-r", "-z", "--name-only", "agent").split("\0")[:-1] == [
        "d-e", "d.f", "d/x", "d/z", "link", "mod", "moved/y", 'odd "name\n', "todir/deep/f",
    ]  # fmt: skip
    assert git(yard.workspace, "show", "agent:mod") == "agent\n"
    assert git(yard.workspace, "log", "-1", "--format=%an|%ae|%s|%P", "agent") == (
        f"Ada x|ada@example.com|Do it|{git(yard.workspace, 'rev-parse', 'main')}"
    )
    assert git(yard.workspace, "status", "--porcelain") == ""
    after = {
        str(p): p.read_bytes() for p in yard.workspace.rglob("*") if p.is_file() and ".git" not in p.parts
    }
    assert after == before


def test_no_hook_filter_or_attribute_runs(yard: Yard) -> None:
    """B23: every place is set that makes git run a program; the twin shows that one of them works."""
    repository(yard)
    canary = yard.top / "canary"
    hook = f"#!/bin/sh\ntouch {canary}\n"
    for name in ("reference-transaction", "post-commit", "pre-commit", "post-index-change"):
        yard.fill({f".git/hooks/{name}": hook})
        (yard.workspace / f".git/hooks/{name}").chmod(0o755)
    yard.fill({"evil": hook})
    (yard.workspace / "evil").chmod(0o755)
    for key in ("core.fsmonitor", "filter.x.clean", "diff.external"):
        git(yard.workspace, "config", key, str(yard.workspace / "evil"))
    yard.fill({".gitattributes": "* filter=x\n"})

    result = commit(yard, lambda inside: (inside / "new").write_text("n"))

    assert result.committed == ("new",)
    assert not canary.exists()
    git(yard.workspace, "status")
    assert canary.exists()


def test_a_partial_clones_remote_is_never_asked_for_a_missing_object(yard: Yard) -> None:
    """B23: a remote may be a program, and the config may allow it; the twin shows that git runs it."""
    repository(yard)
    canary = yard.top / "canary"
    evil = yard.top / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {canary}\n")
    evil.chmod(0o755)
    yard.fill({"new": "n"})
    told = {
        "core.repositoryFormatVersion": "1", "extensions.partialClone": "o", "remote.o.promisor": "true",
        "remote.o.url": f"ext::{evil}", "protocol.ext.allow": "always",
    }  # fmt: skip
    for key, value in told.items():
        git(yard.workspace, "config", key, value)
    yard.fill({".git/refs/heads/main": "1" * 40 + "\n"})

    with pytest.raises(BranchError, match="git says"):
        commit(yard, lambda inside: (inside / "new").write_text("agent"))

    assert not canary.exists()
    with pytest.raises(subprocess.CalledProcessError):
        git(yard.workspace, "rev-parse", "--verify", "HEAD^{commit}")
    assert canary.exists()


def test_an_existing_branch_a_bad_name_and_no_repository_are_refused(yard: Yard) -> None:
    with pytest.raises(BranchError, match="git says"):
        commit(yard, lambda inside: (inside / "new").write_text("n"))
    repository(yard)
    with open_stage(yard.session) as stage:
        found = compute_changes(stage)
        for name in ("main", "-evil", "a..b", "", "a b", "x.lock"):
            with pytest.raises(BranchError):
                commit_to_branch(stage, found.changes, branch=name, text=TEXT)
        assert commit_to_branch(stage, found.changes, branch="fine", text=TEXT).committed == ("new",)


def test_a_workspace_inside_a_repository_commits_below_its_folder(yard: Yard) -> None:
    repository(yard)
    top = yard.workspace.rename(yard.top / "repo")
    yard.workspace.symlink_to(top / "d")

    commit(yard, lambda inside: (inside / "new").write_text("n"))

    assert git(top, "diff", "--name-status", "main", "agent") == "A\td/new\n"


def test_nothing_is_ever_committed_under_a_name_of_gits(yard: Yard) -> None:
    repository(yard)
    names = [
        "sub/.git/hooks/x",
        "a/.GIT/y",
        "git~1/config",
        ".git./config",
        "b/.git::$INDEX_ALLOCATION/config",
    ]
    names += [".gi\u200ct/x", "c\\.git"]

    def agent(inside: Path) -> None:
        yard.fill(dict.fromkeys([*names, "f", "git~2"], "1"), below=inside)
        (inside / ".gitmodules").symlink_to("f")

    result = commit(yard, agent)

    assert result.committed == ("f", "git~2")
    assert {item.path for item in result.not_committed} >= {*names, ".gitmodules"}
    assert {item.code.value for item in result.not_committed} == {"protected"}
