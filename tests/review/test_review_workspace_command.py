"""`pairlock review DIR`: what is unreviewed, from which sessions, and how a person endorses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from agent_runner.lineage import labels_of, require_lineage, wrote_unreviewed
from policies.grant import Grant
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.review.made import Made


def label(made: Made, folder: Path, session: str = "0" * 12) -> None:
    identity = open_workspace(folder, state=made.state).identity
    wrote_unreviewed(made.state, identity, session, Grant.FILES_NETWORK, why="a test")


def labelled(made: Made, folder: Path) -> bool:
    return bool(labels_of(made.state).read(open_workspace(folder, state=made.state).identity).contributions)


def test_sessions_are_named_and_a_person_takes_the_label_off(made: Made) -> None:
    """Folders inside are reviewed with it; only a person at a terminal endorses."""
    inner = made.workspace / "inner"
    inner.mkdir()
    session = made.session(lambda inside: (inside / "a").write_text("x\n"))
    waiting = made.pairlock("review", str(made.workspace))
    assert made.pairlock("apply", session, "--yes").code == 0
    label(made, inner)

    shown = made.pairlock("review", str(made.workspace))
    refused = made.pairlock("review", str(made.workspace), "--endorse")
    endorsed = made.at_terminal("review", str(made.workspace), "--endorse", typed="y\n")
    after = made.pairlock("review", str(made.workspace))

    assert f"{session}  1 change waits" in waiting.err
    assert shown.out.splitlines() == [
        f"{session}  held files+network, unreviewed",
        f"in {inner}",
        f"{'0' * 12}  held files+network, unreviewed",
    ]
    assert (refused.code, endorsed.code) == (3, 0)
    assert (after.out, "nothing unreviewed" in after.err) == ("", True)
    assert not labelled(made, inner)


def test_a_review_of_a_folder_inside_endorses_nothing_around_it(made: Made) -> None:
    inner = made.workspace / "inner"
    inner.mkdir()
    label(made, made.workspace)

    made.at_terminal("review", str(inner), "--endorse", typed="y\n")

    assert labelled(made, made.workspace)


def test_a_labelled_folder_that_is_moved_into_a_workspace_takes_its_label_along(made: Made) -> None:
    """Its twin: the same session starts where the folder was not moved to."""
    outside, other = made.top / "outside", made.top / "other"
    outside.mkdir()
    other.mkdir()
    label(made, outside)
    (made.workspace / "deep").mkdir()
    outside.rename(made.workspace / "deep" / "in")

    with pytest.raises(RefusedError) as refused:
        require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_EXEC)
    require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_NETWORK)
    require_lineage(made.state, open_workspace(other, state=made.state), Grant.FILES_EXEC)

    assert "0" * 12 in refused.value.message
