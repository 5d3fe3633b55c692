"""A stage is planned by a walk that was made before, and by what it counts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sandbox.stage import Access, NewcomerWatch, plan_stage
from sandbox.stage.base import Seen
from sandbox.stage.moment import Moment
from sandbox.stage.scan import scan
from sandbox.stage.start import Start
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from conftest import Yard


def test_a_walk_made_a_moment_ago_is_not_made_again(yard: Yard) -> None:
    """It is made while the engine is asked; what came since is found by the watch's first look."""
    yard.fill({"a": "1", ".env": "s"})
    workspace = open_workspace(yard.workspace, state=yard.top / "state")
    hide = yard.patterns(".env")
    walked = scan(workspace.path, hide)
    yard.fill({"later/.env": "s"})

    plan = plan_stage(
        workspace, yard.session, access=Access.STAGE, hide=hide, uid=os.geteuid(), gid=os.getegid(),
        engine_obstacle="", executable=True, scanned=walked,
    )  # fmt: skip
    watch = NewcomerWatch.start(
        workspace.path, hide=hide, absent=plan.facts.absent, folders=plan.facts.folders
    )

    assert plan.facts.hidden == (".env",)
    assert plan.facts.entries == 1
    assert watch.look() == ("later/.env",)


@given(
    names=st.dictionaries(
        st.sampled_from(["", "d", "d/e"]), st.frozensets(st.sampled_from("ade")), max_size=3
    ),
    known=st.frozensets(st.sampled_from(["a", "d", "d/e", "d/a", "x/y", "e"])),
    folders=st.frozensets(st.sampled_from(["", "d", "d/e", "a"])),
)
def test_paths_are_counted_as_they_are_listed(
    names: dict[str, frozenset[str]], known: frozenset[str], folders: frozenset[str]
) -> None:
    """What a name, a folder and a fact each say of one path counts once."""
    seen = Seen(0o100644, 0, 0, 0, 0)
    start = Start(
        moment=Moment(wall_ns=0, since_boot_ns=0, boot=""),
        folders=dict.fromkeys(folders - {path for path in folders if _named(names, path)}, seen),
        names=names,
        known=dict.fromkeys(known, seen),
    )

    assert len(start) == len(list(start.paths())) == len(set(start.paths()))


def _named(names: dict[str, frozenset[str]], path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name in names.get(folder, ())
