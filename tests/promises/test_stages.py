"""The workspace behaves the same however it is held: overlaid, copied, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.review import Choice, apply_stage, opened
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]

POLICY = """\
version: 1
name: p
grant: [files, exec]
files: {access: ACCESS, hide: ["hidden.txt"]}
exec: {programs: any}
commands: {allow: ["files *", run]}
isolation: {runtime: RUNTIME}
"""
# In a mount option, a comma would begin another one (attack B115): such a folder takes the copy.
INJECTION = "x,lowerdir=%2Fetc"


@pytest.fixture(params=["plain", INJECTION], ids=["overlay", "copy"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a workspace whose name decides how it is held."""
    folder = tmp_path / str(request.param)
    (folder / "sub").mkdir(parents=True)
    (folder / "kept.txt").write_text("kept\n")
    (folder / "gone.txt").write_text("gone\n")
    (folder / "hidden.txt").write_text("hidden\n")
    (folder / "sub" / "old.txt").write_text("old\n")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Return every file and its text."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_stage_holds_the_changes_and_apply_brings_them(lab: Lab, workspace: Path, runtime: str) -> None:
    """Programs and commands change the stage; the workspace changes with `apply`, and in nothing else."""
    before = tree(workspace)

    ran = lab.run(
        POLICY.replace("ACCESS", "stage").replace("RUNTIME", runtime),
        [
            {"command": "files write sub/new.txt", "content": "new\n"},
            "run sh -c 'rm gone.txt && echo more >>kept.txt'",
            "run cat hidden.txt",
            "files read hidden.txt",
        ],
        workspace=workspace,
    )
    meanwhile = tree(workspace)
    files = StateFiles(ran.state).session(ran.result.session)
    with opened(files.folder) as (_, changes):
        shown = changes
    result = apply_stage(files, ran.state, Choice(shown=shown))

    strategy = ran.entries("sandbox.created")[0]["stage_strategy"]
    assert strategy == (
        "copy" if INJECTION in str(workspace) else "overlayoncopy" if ran_as_root() else "overlay"
    )
    assert [seen.kind for seen in ran.seen[:2]] == ["done", "done"]
    assert "No such file" in ran.seen[2].text
    assert [reason.code for reason in ran.seen[3].reasons] == ["hidden"]
    assert meanwhile == before
    assert set(result.applied) == {"gone.txt", "kept.txt", "sub/new.txt"}
    assert tree(workspace) == {
        "hidden.txt": "hidden\n",
        "kept.txt": "kept\nmore\n",
        "sub/new.txt": "new\n",
        "sub/old.txt": "old\n",
    }


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_read_gives_no_writing_at_all(lab: Lab, workspace: Path, runtime: str) -> None:
    """`access: read`: the command and the program both fail to write, and can read."""
    before = tree(workspace)

    ran = lab.run(
        POLICY.replace("ACCESS", "read").replace("RUNTIME", runtime),
        [
            "files read kept.txt",
            {"command": "files write kept.txt", "content": "new\n"},
            "run sh -c 'echo more >>kept.txt'",
        ],
        workspace=workspace,
    )

    assert "kept" in ran.seen[0].text
    assert ran.seen[1].kind in ("denied", "error")
    assert ran.seen[2].exit_code != 0
    assert tree(workspace) == before


def ran_as_root() -> bool:
    """Say whether these tests run as root, whose files the session's uid could not write."""
    import os

    return os.getuid() == 0
