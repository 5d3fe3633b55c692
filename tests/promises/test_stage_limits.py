"""A session's limits on what it writes hold however its workspace is held, and the agent is told which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.watch import StageExceededError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

POLICY = """\
version: 1
name: p
grant: [files, exec]
files: {limits: {LIMIT}}
exec: {programs: any}
commands: {allow: ["files *", run]}
"""


def write(path: str, size: int) -> dict[str, str]:
    return {"command": f"files write {path}", "content": "x" * size}


@pytest.fixture(params=["plain", "x,lowerdir=%2Fetc"], ids=["overlay", "copy"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a workspace whose name decides how it is held."""
    folder = tmp_path / str(request.param)
    folder.mkdir()
    (folder / "kept.txt").write_text("kept\n")
    return folder


def test_a_command_that_would_pass_a_limit_is_told_which_and_the_session_goes_on(
    lab: Lab, workspace: Path
) -> None:
    """What a command is given to write is known before it writes; the twin within the limit is written."""
    bytes_limit = lab.run(
        POLICY.replace("LIMIT", "written_bytes: 64KiB"),
        [write("a", 40_000), write("b", 40_000), write("c", 4), write("a", 20_000)],
        workspace=workspace,
    )
    files_limit = lab.run(
        POLICY.replace("LIMIT", "written_files: 2"),
        [write("a", 4), write("b", 4), write("c", 4), write("b", 5), "files remove a"],
        workspace=workspace,
    )

    assert [seen.kind for seen in bytes_limit.seen] == ["done", "error", "done", "done", "done"]
    assert "the stage's limit `written_bytes` is `65536`, and `81920`" in bytes_limit.seen[1].text
    assert [seen.kind for seen in files_limit.seen] == ["done", "done", "error", "done", "done", "done"]
    assert "the stage's limit `written_files` is `2`, and `3`" in files_limit.seen[2].text


@pytest.mark.parametrize(
    ("limit", "script", "name"),
    [
        (
            "written_bytes: 256KiB",
            "head -c 200000 /dev/zero >a; head -c 200000 /dev/zero >b",
            "written_bytes",
        ),
        ("written_files: 3", ": >a; : >b; : >c; : >d", "written_files"),
    ],
)
def test_what_a_program_wrote_at_the_last_moment_is_measured_too(
    lab: Lab, workspace: Path, limit: str, script: str, name: str
) -> None:
    """A session that ends between two looks of the watch has not escaped them."""
    with pytest.raises(StageExceededError) as caught:
        lab.run(POLICY.replace("LIMIT", limit), [f"run sh -c '{script}'"], workspace=workspace)

    assert caught.value.exceeded.limit == name


def test_what_fills_a_copy_is_refused_by_the_kernel_and_the_agent_told_why(lab: Lab, tmp_path: Path) -> None:
    """Programs are not asked first: the memory file system is no larger than the limits need."""
    workspace = tmp_path / "x,y"
    workspace.mkdir()
    script = "for name in a b c d e f; do head -c 900000 /dev/zero >$name; done"
    limits = "written_bytes: 1MiB, written_files: 20"

    ran = lab.run(
        POLICY.replace("LIMIT", limits),
        [f"run sh -c '{script}'", write("late", 100_000), "run sh -c 'rm -f b c d e f'"],
        workspace=workspace,
    )

    assert "No space left on device" in ran.seen[0].text
    assert "error (no-space)" in ran.seen[1].text
    assert "`written_bytes: 1048576`, `written_files: 20`" in ran.seen[1].text
