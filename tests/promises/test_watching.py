"""What the kernel does not bound, the host looks at: a stage that grows, a hidden file that appears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent_runner.watch import HiddenFileAppearedError, StageExceededError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.conftest import Lab, Ran

pytestmark = pytest.mark.engine
POLICY = """\
version: 1
name: p
grant: [files, exec]
files:
  access: ACCESS
  hide: ["*.secret"]
  limits: {written_bytes: 8MiB, written_files: 50}
exec: {programs: any}
commands: {allow: ["files *", run]}
"""


def test_a_stage_that_grows_too_large_ends_the_session(lab: Lab) -> None:
    """B119: one file is bounded by the kernel; many are found by the host, which ends the session."""
    workspace = lab.workspace()
    fill = "i=0; while true; do head -c 1000000 /dev/zero >big$i; i=$((i+1)); sleep 0.01; done"

    with pytest.raises(StageExceededError) as caught:
        lab.run(POLICY.replace("ACCESS", "stage"), [f"run sh -c '{fill}'"], workspace=workspace)

    assert caught.value.exceeded.limit in ("written_bytes", "written_files")


def test_too_many_files_end_the_session(lab: Lab) -> None:
    """Empty files take no bytes, and inodes all the same."""
    workspace = lab.workspace()
    fill = "i=0; while true; do : >f$i; i=$((i+1)); done"

    with pytest.raises(StageExceededError) as caught:
        lab.run(POLICY.replace("ACCESS", "stage"), [f"run sh -c '{fill}'"], workspace=workspace)

    assert caught.value.exceeded.limit == "written_files"


def test_what_stays_within_the_limits_goes_on(lab: Lab) -> None:
    """The positive twin."""
    workspace = lab.workspace()

    ran = lab.run(
        POLICY.replace("ACCESS", "stage"),
        ["run sh -c 'head -c 1000000 /dev/zero >a; sleep 1; head -c 1000000 /dev/zero >b'"],
        workspace=workspace,
    )

    assert ran.seen[0].exit_code == 0


@pytest.mark.parametrize(("name", "ends"), [("late.secret", True), ("late.txt", False)])
async def test_a_hidden_file_made_during_the_session_ends_it(
    lab: Lab, tmp_path: Path, name: str, *, ends: bool
) -> None:
    """B116: the live workspace shows through an overlay, so a late match is not left readable."""
    from agent_runner.container import own_identity
    from tests.promises.test_stages import ran_as_root

    workspace = lab.workspace(here="here")
    if ran_as_root():  # only a workspace of the session's own uid is mounted live
        import os

        os.chown(workspace, own_identity().uid, own_identity().gid)
        os.chown(workspace / "here", own_identity().uid, own_identity().gid)
    waiting = (
        f"run sh -c 'touch started; i=0; while [ $i -lt 80 ]; do sleep 0.1; i=$((i+1)); done; cat {name}'"
    )
    session = asyncio.ensure_future(
        lab.arun(POLICY.replace("ACCESS", "stage"), [waiting], workspace=workspace)
    )
    await _until_started(lab, session)

    (workspace / name).write_text("made late\n")

    if ends:
        with pytest.raises(HiddenFileAppearedError):
            await session
    else:
        ran = await session
        assert ran.entries("sandbox.created")[0]["stage_strategy"] == "overlay"
        assert ran.result.status == "done"


async def _until_started(lab: Lab, session: asyncio.Future[Ran]) -> None:
    for _ in range(2400):
        if list(lab.folder.glob("state-*/sessions/*/stage/upper/started")):
            return
        if session.done():
            await session
        await asyncio.sleep(0.05)
    raise AssertionError("the program did not start")
