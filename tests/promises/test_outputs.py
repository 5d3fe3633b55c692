"""What a session without `files` keeps, where it may go, and that its label goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from agent_runner.outputs import output_names, put_in
from agent_runner.review import Choice, apply_stage, opened
from audit.state import StateFiles
from audit.verify import verify_all
from policies.errors import PolicyFileError
from policies.source import parse_policy

if TYPE_CHECKING:
    from tests.promises.conftest import Lab, Ran

pytestmark = pytest.mark.engine

MAKES = """\
version: 1
name: makes
grant: [exec]
outputs: out
exec: {programs: any}
commands: {allow: [run]}
"""
SENDS = """\
version: 1
name: sends
grant: [files, network]
files: {access: read}
commands: {allow: ["files *"]}
"""
MAKE = (
    "mkdir -p out/d && echo made >out/d/tool.sh && chmod +x out/d/tool.sh && echo no >elsewhere "
    "&& ln -s /etc/passwd out/link && mkfifo out/pipe && head -c 3000000 /dev/zero >out/large"
)


def made(lab: Lab, script: str = MAKE) -> Ran:
    return lab.run(MAKES, [f"run sh -c '{script}'"])


def test_outputs_are_kept_labelled_and_put_in_by_a_review(lab: Lab) -> None:
    """Regular files alone; a stage of the folder they go to; reviewed, they leave no label there."""
    ran = made(lab)
    session, workspace = StateFiles(ran.state).session(ran.result.session), lab.workspace(mine="mine\n")
    kept = session.folder / "outputs"

    names = output_names(session)
    count = put_in(session, ran.state, workspace)
    moved = kept.rename(lab.folder / "moved")
    with pytest.raises(RefusedError) as refused:
        lab.run(SENDS, [], workspace=moved, state=ran.state)
    with opened(session.folder) as (_, changes):
        shown = changes
    result = apply_stage(session, ran.state, Choice(shown=shown))

    assert names == ("d/tool.sh", "large")
    assert any("link" in line for line in lab.told)
    assert any("pipe" in line for line in lab.told)
    assert ran.result.session in refused.value.message
    assert (count, result.complete) == (2, True)
    assert (workspace / "d/tool.sh").read_text() == "made\n"
    assert (workspace / "d/tool.sh").stat().st_mode & 0o111 == 0o111
    assert (workspace / "large").stat().st_size == 3_000_000
    after = lab.run(SENDS, [], workspace=workspace, state=ran.state)
    assert after.result.status == "done"
    verdicts = {found.log: found.faults() for found in verify_all(ran.state)}
    assert verdicts == {"host": {}, ran.result.session: {}, after.result.session: {}}


def test_outputs_that_nobody_looked_at_label_the_folder_they_go_to(lab: Lab) -> None:
    """Exec went in, so files + network may not start there before a review."""
    ran = made(lab, "mkdir out && echo made >out/tool.sh")
    session, workspace = StateFiles(ran.state).session(ran.result.session), lab.workspace()

    put_in(session, ran.state, workspace)
    apply_stage(session, ran.state, Choice(shown=None))

    with pytest.raises(RefusedError) as refused:
        lab.run(SENDS, [], workspace=workspace, state=ran.state)
    assert ran.result.session in refused.value.message


def test_a_session_that_made_no_outputs_keeps_none(lab: Lab) -> None:
    ran = made(lab, "true")

    assert output_names(StateFiles(ran.state).session(ran.result.session)) == ()


def test_outputs_stand_only_where_there_are_no_files() -> None:
    """With `files` the stage is what is left to review; the policy is refused with the reason."""
    with pytest.raises(PolicyFileError, match="`outputs` stands here, but the grant is `files`"):
        parse_policy("version: 1\nname: x\ngrant: [files]\noutputs: out\n", origin="x.yaml")

    assert (
        parse_policy("version: 1\nname: x\ngrant: [exec]\noutputs: out\n", origin="x.yaml").outputs == "out"
    )
