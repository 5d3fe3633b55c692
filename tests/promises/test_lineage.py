"""Two sessions that share a workspace cannot do together what neither may do alone."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.container import NOBODY
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.lineage import endorse, labels_of
from agent_runner.lineage_places import joined, unreviewed
from agent_runner.meta import Meta, write_meta
from agent_runner.review import Choice, apply_stage, opened
from audit.journal import Journal, Registration
from audit.state import StateFiles
from audit.verify import verify_all
from policies.source import parse_policy
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

FETCHES = """\
version: 1
name: fetches
grant: [files, network]
files: {access: ACCESS}
commands: {allow: ["files *", "http *"]}
network: {allow: [{host: example.invalid}]}
"""
RUNS = """\
version: 1
name: runs
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
"""
FETCH = "http get https://example.invalid/tool.sh"
WRITE = {"command": "files write tool.sh", "content": "echo fetched\n"}


def test_what_one_session_fetched_directly_another_may_not_run_before_a_review(lab: Lab) -> None:
    """B30: writing directly labels at once; a review takes it off, and is an entry of the host's log."""
    workspace, state = lab.workspace(), lab.new_state()
    if os.getuid() == 0:  # root's container runs as somebody else, who has to own what he writes directly
        os.chown(workspace, NOBODY, NOBODY)
    first = lab.run(FETCHES.replace("ACCESS", "direct"), [FETCH, WRITE], workspace=workspace, state=state)
    assert first.seen[1].kind == "done", first.seen[1].text
    assert (workspace / "tool.sh").read_text() == "echo fetched\n"

    with pytest.raises(RefusedError) as caught:
        lab.run(RUNS, ["run sh tool.sh"], workspace=workspace, state=state)
    identity = open_workspace(workspace, state=state).identity
    shown = unreviewed(labels_of(state), identity)
    endorse(state, identity, shown)
    after = lab.run(RUNS, ["run sh tool.sh"], workspace=workspace, state=state)

    assert first.result.session in caught.value.message
    assert {c.value for c in joined(found.label for found in shown).capabilities} == {"files", "network"}
    assert "fetched" in after.seen[0].text
    verdicts = {found.log: found.faults() for found in verify_all(state)}
    assert verdicts == {"host": {}, first.result.session: {}, after.result.session: {}}


def test_a_staged_session_leaves_no_label_until_it_is_applied_unseen(lab: Lab) -> None:
    """The stage is not the workspace; `apply --yes` that nobody looked at labels it like direct writing."""
    workspace, state = lab.workspace(), lab.new_state()
    first = lab.run(FETCHES.replace("ACCESS", "stage"), [FETCH, WRITE], workspace=workspace, state=state)
    identity = open_workspace(workspace, state=state).identity
    files = StateFiles(state).session(first.result.session)
    unlabelled = labels_of(state).read(identity)

    apply_stage(files, state, Choice(shown=None))
    with pytest.raises(RefusedError):
        lab.run(RUNS, [], workspace=workspace, state=state)

    assert unlabelled.contributions == ()


def test_a_direct_session_that_never_went_out_leaves_the_workspace_to_programs(lab: Lab) -> None:
    """The twin: `network` that was held and not used labels nothing, and what was written may run."""
    workspace, state = lab.workspace(), lab.new_state()
    if os.getuid() == 0:
        os.chown(workspace, NOBODY, NOBODY)
    first = lab.run(FETCHES.replace("ACCESS", "direct"), [WRITE], workspace=workspace, state=state)

    after = lab.run(RUNS, ["run sh tool.sh"], workspace=workspace, state=state)

    label = labels_of(state).read(open_workspace(workspace, state=state).identity)
    assert {part.session: {held.value for held in part.exercised} for part in label.contributions} == {
        first.result.session: {"files"}
    }
    assert "fetched" in after.seen[0].text


def test_a_label_holds_what_was_exercised_and_not_what_was_only_held(lab: Lab) -> None:
    """A session that never used its `network` leaves none; one whose program ran leaves all it held."""
    workspace, state = lab.workspace(), lab.new_state()
    identity = open_workspace(workspace, state=state).identity

    written = lab.run(FETCHES.replace("ACCESS", "stage"), [WRITE], workspace=workspace, state=state)
    apply_stage(StateFiles(state).session(written.result.session), state, Choice(shown=None))
    ran = lab.run(RUNS, ["run sh -c 'sh tool.sh >said'"], workspace=workspace, state=state)
    apply_stage(StateFiles(state).session(ran.result.session), state, Choice(shown=None))

    label = labels_of(state).read(identity)
    assert {part.session: {held.value for held in part.exercised} for part in label.contributions} == {
        written.result.session: {"files"},
        ran.result.session: {"files", "exec"},
    }
    assert ran.seen[0].kind == "done"
    with pytest.raises(RefusedError, match=ran.result.session):
        lab.run(FETCHES.replace("ACCESS", "stage"), [FETCH], workspace=workspace, state=state)


def test_a_staged_session_that_a_person_looked_at_leaves_no_label(lab: Lab) -> None:
    """The positive twin: what a person saw and took is theirs."""
    workspace, state = lab.workspace(), lab.new_state()
    first = lab.run(FETCHES.replace("ACCESS", "stage"), [WRITE], workspace=workspace, state=state)

    files = StateFiles(state).session(first.result.session)
    with opened(files.folder) as (_, changes):
        shown = changes

    apply_stage(files, state, Choice(shown=shown))
    after = lab.run(RUNS, ["run sh tool.sh"], workspace=workspace, state=state)

    assert "fetched" in after.seen[0].text


@pytest.mark.parametrize("second", ["outer", "outer/inner/deep"])
def test_a_label_counts_for_the_folders_around_and_inside(lab: Lab, second: str) -> None:
    """What was fetched into a folder can be run from the folder around it as well as from one inside."""
    state, top = lab.new_state(), lab.workspace()
    inner = top / "outer" / "inner"
    (inner / "deep").mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(inner, NOBODY, NOBODY)
    lab.run(FETCHES.replace("ACCESS", "direct"), [FETCH, WRITE], workspace=inner, state=state)

    with pytest.raises(RefusedError):
        lab.run(RUNS, [], workspace=top / second, state=state)
    beside = top / "beside"
    beside.mkdir()
    allowed = lab.run(RUNS, [], workspace=beside, state=state)

    assert allowed.result.status == "done"


def test_sessions_that_run_beside_each_other_do_not_add_up(lab: Lab) -> None:
    """One that writes at once is refused while one that may send works on the same files."""
    state, workspace = lab.new_state(), lab.workspace()
    if os.getuid() == 0:
        os.chown(workspace, NOBODY, NOBODY)
    journal = Journal.create(state, "0123456789ab", registration=Registration(grant="files+network"))
    direct = RUNS.replace(
        "exec: {", "files: {access: direct, hide_defaults: false, protect_defaults: false}\nexec: {"
    )

    async def beside(policy: str) -> None:
        async with journal:
            folder = StateFiles(state).session("0123456789ab").folder
            sending = parse_policy(FETCHES.replace("ACCESS", "stage"), origin="sending")
            write_meta(folder, _meta(workspace), sending.as_yaml())
            await lab.arun(policy, [], workspace=workspace, state=state)

    with pytest.raises(RefusedError) as caught:
        asyncio.run(beside(direct))
    staged = lab.run(RUNS, [], workspace=workspace, state=state)

    assert "0123456789ab" in caught.value.message
    assert staged.result.status == "done"


def test_only_the_changes_that_were_shown_are_applied(lab: Lab) -> None:
    """A change that came after the look is not taken with the others."""
    workspace, state = lab.workspace(), lab.new_state()
    first = lab.run(RUNS, [WRITE], workspace=workspace, state=state)
    files = StateFiles(state).session(first.result.session)
    with opened(files.folder) as (_, changes):
        shown = changes
    (files.folder / "stage" / "upper" / "Makefile").write_text("all:\n\techo evil\n")

    with pytest.raises(InvalidInputError):
        apply_stage(files, state, Choice(shown=shown))

    assert list(workspace.iterdir()) == []


def _meta(workspace: Path) -> Meta:
    return Meta(
        session="0123456789ab",
        policy="sending",
        policy_origin="sending",
        policy_digest="0" * 64,
        grant="files+network",
        workspace=str(workspace.resolve()),
        model="scripted:test",
        started="2026-01-01T00:00:00+00:00",
        process=os.getpid(),
    )
