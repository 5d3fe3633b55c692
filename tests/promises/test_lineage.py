"""Two sessions that share a workspace cannot do together what neither may do alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.container import NOBODY
from agent_runner.errors import RefusedError
from agent_runner.lineage import labels_of, reviewed
from agent_runner.review import apply_stage
from audit.state import StateFiles
from audit.verify import verify_all
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

FETCHES = """\
version: 1
name: fetches
grant: [files, network]
files: {access: ACCESS}
commands: {allow: ["files *"]}
"""
RUNS = """\
version: 1
name: runs
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
"""
WRITE = {"command": "files write tool.sh", "content": "echo fetched\n"}


def test_what_one_session_fetched_directly_another_may_not_run_before_a_review(lab: Lab) -> None:
    """`direct` writing labels at once; a review takes the label off, and is an entry of the host's log."""
    workspace, state = lab.workspace(), lab.new_state()
    if os.getuid() == 0:  # root's container runs as somebody else, who has to own what he writes directly
        os.chown(workspace, NOBODY, NOBODY)
    first = lab.run(FETCHES.replace("ACCESS", "direct"), [WRITE], workspace=workspace, state=state)
    assert first.seen[0].kind == "done", first.seen[0].text
    assert (workspace / "tool.sh").read_text() == "echo fetched\n"

    with pytest.raises(RefusedError) as caught:
        lab.run(RUNS, ["run sh tool.sh"], workspace=workspace, state=state)
    before = reviewed(state, open_workspace(workspace, state=state).identity)
    after = lab.run(RUNS, ["run sh tool.sh"], workspace=workspace, state=state)

    assert first.result.session in caught.value.message
    assert {c.value for c in before.capabilities} == {"files", "network"}
    assert "fetched" in after.seen[0].text
    assert all(not found.faults() for found in verify_all(state))


def test_a_staged_session_leaves_no_label_until_it_is_applied_unseen(lab: Lab) -> None:
    """The stage is not the workspace; `apply --yes` that nobody looked at labels it like direct writing."""
    workspace, state = lab.workspace(), lab.new_state()
    first = lab.run(FETCHES.replace("ACCESS", "stage"), [WRITE], workspace=workspace, state=state)
    identity = open_workspace(workspace, state=state).identity
    files = StateFiles(state).session(first.result.session)
    unlabelled = labels_of(state).read(identity)

    apply_stage(files, state, paths=(), include=(), looked=False)
    with pytest.raises(RefusedError):
        lab.run(RUNS, [], workspace=workspace, state=state)

    assert unlabelled.contributions == ()


def test_a_staged_session_that_a_person_looked_at_leaves_no_label(lab: Lab) -> None:
    """The positive twin: what a person saw and took is theirs."""
    workspace, state = lab.workspace(), lab.new_state()
    first = lab.run(FETCHES.replace("ACCESS", "stage"), [WRITE], workspace=workspace, state=state)

    apply_stage(StateFiles(state).session(first.result.session), state, paths=(), include=(), looked=True)
    after = lab.run(RUNS, ["run sh tool.sh"], workspace=workspace, state=state)

    assert "fetched" in after.seen[0].text
