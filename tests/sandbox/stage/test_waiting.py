from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.discard import discard
from sandbox.stage.opened import open_stage
from sandbox.stage.waiting import changes_wait

if TYPE_CHECKING:
    from conftest import Yard


def test_changes_wait_until_they_are_applied_or_discarded(yard: Yard) -> None:
    yard.fill({"a": "1"})
    assert not changes_wait(yard.session)
    with yard.mounted(yard.plan()) as inside:
        (inside / "a").write_text("1")
    assert not changes_wait(yard.session), "the same bytes again are no change"
    with yard.overlay_of(yard.session) as inside:
        (inside / "a").write_text("agent")
    assert changes_wait(yard.session)

    with open_stage(yard.session) as stage:
        apply_changes(stage, compute_changes(stage).changes)

    assert not changes_wait(yard.session)
    discard(yard.session)
    assert not changes_wait(yard.session)


def test_in_doubt_changes_wait(yard: Yard) -> None:
    """The workspace is gone, or the record is damaged: nobody can have reviewed what is left."""
    with yard.mounted(yard.plan()) as inside:
        (inside / "new").write_text("agent")
    (yard.session / "stage/record").write_text("damaged")

    assert changes_wait(yard.session)
    shutil.rmtree(yard.workspace)
    assert changes_wait(yard.session)
