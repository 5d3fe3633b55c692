"""With `access: direct` nothing that is hidden can be in the workspace: there is no layer that covers it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.cli.exits import Exit, exit_code
from agent_runner.container import NOBODY
from agent_runner.ending import status_of_error
from agent_runner.policy_unseen import hiding
from policies.source import parse_policy
from sandbox.stage.errors import StageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

POLICY = """\
version: 1
name: direct
grant: [files]
files: {{access: {access}, visible: [{visible}]}}
commands: {{allow: ["files *", "git *"]}}
"""
LINE = "token=canary"
LOOKS = ("files list --all", "files search --all token", "files read link", "files read other.txt")


def secrets_in(lab: Lab, folder: str = ".") -> Path:
    """Make a workspace with a secret in a folder of it, a link to it and another name of it."""
    workspace = lab.workspace(**{"plain.txt": "plain\n"})
    (workspace / folder).mkdir(exist_ok=True)
    secret = workspace / folder / ".env"
    secret.write_text(f"{LINE}\n")
    (workspace / "link").symlink_to(secret.relative_to(workspace))
    (workspace / "other.txt").hardlink_to(secret)
    if os.getuid() == 0:  # root's container runs as somebody else, who has to own what he writes directly
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return workspace


WRITES = (
    "files write hooks/pre-commit --content evil",
    "files write settings --content evil",
    "files write git/config --content evil",
    "files move plain.txt hooks/post-commit",
    "files remove git/description",
    {"command": "files patch git/description", "content": "@@ -1 +1 @@\n-private\n+evil\n"},
)


def repository_in(lab: Lab) -> Path:
    """Make a workspace as a clone may be: with symlinks into its own `.git`."""
    workspace = lab.workspace(**{"plain.txt": "plain\n"})
    (workspace / ".git/hooks").mkdir(parents=True)
    for name in ("config", "description"):
        (workspace / ".git" / name).write_text("private\n")
    for name, target in (("hooks", ".git/hooks"), ("settings", ".git/config"), ("git", ".git")):
        (workspace / name).symlink_to(target)
    (workspace / "real").mkdir()
    if os.getuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return workspace


def test_what_is_written_directly_leads_through_no_symlink_to_what_is_protected(lab: Lab) -> None:
    """A clone may have `hooks -> .git/hooks`, and the host runs what is written there."""
    workspace = repository_in(lab)

    ran = lab.run(
        POLICY.format(access="direct", visible=""),
        [*WRITES, "files write real/a --content a"],
        workspace=workspace,
    )

    assert [path.name for path in (workspace / ".git/hooks").iterdir()] == []
    assert {(workspace / ".git" / name).read_text() for name in ("config", "description")} == {"private\n"}
    assert {seen.kind for seen in ran.seen[:6]} <= {"error", "denied", "done"}
    assert [ran.seen[at].kind for at in (0, 2, 3)] == ["error"] * 3
    assert (workspace / "real/a").read_text() == "a"


def test_no_folder_nor_link_is_moved_directly_to_where_its_files_are_protected(lab: Lab) -> None:
    """Each file has a name that is allowed, until the folder has another; files are moved one by one."""
    workspace = lab.workspace(**{"plain.txt": "plain\n"})
    (workspace / "link").symlink_to("x")
    if os.getuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    steps = (
        "files write x/mise/config.toml --content evil",
        "files move x .config",
        "files move link .config",
        "files move x/mise/config.toml .config/mise/config.toml",
        "files move plain.txt x/moved.txt",
    )

    ran = lab.run(POLICY.format(access="direct", visible=""), steps, workspace=workspace)

    assert [seen.kind for seen in ran.seen[:5]] == ["done", "error", "error", "denied", "done"]
    assert not os.path.lexists(workspace / ".config")
    assert (workspace / "x/moved.txt").read_text() == "plain\n"


def test_no_folder_is_removed_directly_with_what_is_protected_in_it(lab: Lab) -> None:
    """The folder's name is nobody's business, the file's is; what is not protected is removed one by one."""
    workspace = lab.workspace(**{"plain.txt": "plain\n"})
    for name in ("kit/.github/workflows/test.yml", "kit/plain.txt"):
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text("kept\n")
    (workspace / "empty").mkdir()
    if os.getuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    steps = (
        "files remove --recursive kit",
        "files remove kit/.github/workflows/test.yml",
        "files remove kit/plain.txt",
        "files remove --recursive empty",
    )

    ran = lab.run(POLICY.format(access="direct", visible=""), steps, workspace=workspace)

    assert [seen.kind for seen in ran.seen[:4]] == ["error", "denied", "done", "done"]
    assert "one by one" in ran.seen[0].text
    left = sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file())
    assert left == ["kit/.github/workflows/test.yml", "plain.txt"]
    assert not (workspace / "empty").exists()


def test_what_a_protected_symlink_leads_to_is_not_written_directly(lab: Lab) -> None:
    """A clone may have `.vscode -> vs`, and the editor obeys what lies there; the twin lies beside it."""
    workspace = lab.workspace(**{"plain.txt": "plain\n"})
    (workspace / ".vscode").symlink_to("vs")
    (workspace / "sub").mkdir()
    (workspace / "sub/.config").symlink_to("../conf")
    if os.getuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    names = ("vs/tasks.json", "conf/mise/config.toml", "conf/plain.toml", "vs2/tasks.json")
    policy = parse_policy(POLICY.format(access="direct", visible=""), origin="p")
    held = hiding(policy, (), workspace)

    ran = lab.run(held.as_yaml(), [f"files write {name} --content x" for name in names], workspace=workspace)

    assert [seen.kind for seen in ran.seen[:4]] == ["denied", "denied", "done", "done"]
    assert [(workspace / name).exists() for name in names] == [False, False, True, True]


def test_twin_in_a_stage_the_same_writes_are_done_and_apply_judges_them(lab: Lab) -> None:
    workspace = repository_in(lab)

    ran = lab.run(POLICY.format(access="stage", visible=""), WRITES[:1], workspace=workspace)

    assert ran.seen[0].kind == "done"
    assert [path.name for path in (workspace / ".git/hooks").iterdir()] == []


@pytest.mark.parametrize("folder", [".", "deep"])
def test_a_workspace_that_holds_what_is_hidden_is_not_worked_on_directly(lab: Lab, folder: str) -> None:
    """A search, a symlink and a hard link would show it, whatever is denied by name."""
    workspace = secrets_in(lab, folder)

    with pytest.raises(StageError, match="`access: direct` cannot hide") as refused:
        lab.run(POLICY.format(access="direct", visible=""), LOOKS, workspace=workspace)

    name = ".env" if folder == "." else f"{folder}/.env"
    assert refused.value.message.endswith(
        "and the workspace holds 2 hidden paths: "
        f"`{name}`, hidden by the default `.env`: name it in `files.visible`; "
        "`other.txt`, another name of a hidden file"
    )
    assert exit_code(refused.value) is Exit.DENIED
    assert status_of_error(refused.value) == "denied"


def test_what_an_interrupted_apply_left_is_not_shown_directly(lab: Lab) -> None:
    """What the user had lies in its folder, under names that no pattern knows."""
    workspace = lab.workspace()
    left = workspace / ".pairlock-apply-zz"
    left.mkdir()
    (left / ".env").write_text(f"{LINE}\n")
    if os.getuid() == 0:
        for path in (workspace, left, left / ".env"):
            os.chown(path, NOBODY, NOBODY)

    with pytest.raises(
        StageError, match=r"a hidden path: `\.pairlock-apply-zz`, what an apply left"
    ) as refused:
        lab.run(POLICY.format(access="direct", visible=""), LOOKS, workspace=workspace)

    assert refused.value.hint.endswith("`pairlock apply`")


def test_what_is_hidden_is_absent_from_a_stage_by_the_same_ways(lab: Lab) -> None:
    ran = lab.run(POLICY.format(access="stage", visible=""), LOOKS, workspace=secrets_in(lab))

    assert not any(LINE in seen.text or ".env  " in seen.text for seen in ran.seen)
    assert [seen.kind for seen in ran.seen[:4]] == ["done", "done", "error", "error"]


def test_twin_what_the_policy_makes_visible_is_shown_directly(lab: Lab) -> None:
    """The same ways, where nothing is hidden."""
    ran = lab.run(POLICY.format(access="direct", visible=".env"), LOOKS, workspace=secrets_in(lab))

    assert [LINE in seen.text for seen in ran.seen[:4]] == [False, True, True, True]
