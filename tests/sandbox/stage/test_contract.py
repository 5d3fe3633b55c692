"""What holds of a stage however it is held: one suite, run against each strategy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.discard import discard
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.strategies import STRATEGIES, session

if TYPE_CHECKING:
    from conftest import Yard

    from sandbox.stage.apply import ApplyResult

pytestmark = pytest.mark.parametrize("strategy", STRATEGIES)


def apply(yard: Yard, *chosen: str, protect: tuple[str, ...] = (), hide: tuple[str, ...] = ()) -> ApplyResult:
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=yard.patterns(*protect), hide=yard.patterns(*hide))
        return apply_changes(stage, found.changes, chosen=yard.patterns(*chosen) if chosen else None)


def codes(result: ApplyResult) -> dict[str, str]:
    return {item.path: item.code.value for item in result.not_applied}


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_what_is_hidden_is_absent_by_every_route(yard: Yard, strategy: str) -> None:
    """Listed, behind a symlink, as a hard link, in another case or Unicode form, below a new name."""
    yard.fill({".env": "s", "d/.ENV": "s", "d/caf\u00e9.key": "s", "e/cafe\u0301.key": "s", "seen": "x"})
    os.link(yard.workspace / ".env", yard.workspace / "innocent")
    (yard.workspace / "way").symlink_to(".env")

    with session(yard, strategy, ".env", "caf\u00e9.key") as inside:
        listed = sorted(str(path.relative_to(inside)) for path in inside.rglob("*"))
        readable = (inside / "way").exists()
        if not (inside / "moved").exists():
            shutil.move(inside / "d", inside / "moved")
        below = list((inside / "moved").iterdir())

    assert listed == ["d", "e", "seen", "way"]
    assert (readable, below) == (False, [])
    assert (yard.workspace / "d/.ENV").read_text() == "s"


def test_what_is_protected_is_readable_and_never_applied(yard: Yard, strategy: str) -> None:
    """Existing or not, at any depth; what stands beside it is applied."""
    yard.fill({"guarded": "1", "a": "1"})
    with session(yard, strategy) as inside:
        assert (inside / "guarded").read_text() == "1"
        yard.fill({"guarded": "2", "deep/er/guarded": "2", "a": "2"}, below=inside)

    result = apply(yard, protect=("guarded",))

    assert codes(result) == {"guarded": "protected", "deep/er/guarded": "protected"}
    assert (yard.workspace / "guarded").read_text() == "1"
    assert (yard.workspace / "a").read_text() == "2"


def test_ways_out_and_odd_files_are_refused_or_tamed(yard: Yard, strategy: str) -> None:
    with session(yard, strategy) as inside:
        (inside / "out").symlink_to("/etc/passwd")
        os.mkfifo(inside / "pipe")
        yard.fill({"tool": "x", "odd\nname": "x"}, below=inside)
        (inside / "tool").chmod(0o6777)

    result = apply(yard)

    assert codes(result) == {"out": "leads-out", "pipe": "special"}
    assert (yard.workspace / "tool").stat().st_mode & 0o7777 == 0o775
    assert (yard.workspace / "odd\nname").read_text() == "x"


def test_a_folder_in_the_place_of_a_symlink_arrives_with_all_it_holds(yard: Yard, strategy: str) -> None:
    """Nothing was below the symlink, wherever it led; what it led to stays as it is."""
    yard.fill({"real/f": "1"})
    (yard.workspace / "here").symlink_to("real")
    with session(yard, strategy) as inside:
        (inside / "here").unlink()
        yard.fill({"here/f": "2", "here/deep/g": "3"}, below=inside)

    result = apply(yard)

    assert codes(result) == {}
    assert files(yard.workspace) == {"real/f": "1", "here/f": "2", "here/deep/g": "3"}


def test_a_symlink_that_the_user_made_meanwhile_is_still_in_the_way(yard: Yard, strategy: str) -> None:
    """Also one in the place of a symlink: it is not what the session started on."""
    yard.fill({"real/x": "1", "other/x": "1"})
    (yard.workspace / "here").symlink_to("real")
    with session(yard, strategy) as inside:
        (inside / "here").unlink()
        yard.fill({"here/f": "2"}, below=inside)
    (yard.workspace / "here").unlink()
    (yard.workspace / "here").symlink_to("other")

    result = apply(yard)

    assert codes(result) == {"here": "conflict", "here/f": "conflict"}
    assert files(yard.workspace) == {"real/x": "1", "other/x": "1"}
    assert (yard.workspace / "here").readlink() == Path("other")


def test_conflicts_are_found_by_content_and_told(yard: Yard, strategy: str) -> None:
    """A touched file is none; a changed one is, and stays the user's."""
    yard.fill({"touched": "1", "changed": "1", "gone": "1"})
    with session(yard, strategy) as inside:
        yard.fill({"touched": "2", "changed": "2", "gone": "2"}, below=inside)
        with open_stage(yard.session) as stage:  # as `diff` does while a session runs: the content is known
            compute_changes(stage)
    if strategy != "Copy":
        with open_stage(yard.session) as stage:
            compute_changes(stage)
    os.utime(yard.workspace / "touched", ns=(1, 1))
    (yard.workspace / "changed").write_text("the user's")
    (yard.workspace / "gone").unlink()

    result = apply(yard)

    assert codes(result) == {"changed": "conflict", "gone": "conflict"}
    assert files(yard.workspace) == {"touched": "2", "changed": "the user's"}


def test_after_a_partial_apply_the_rest_waits_and_can_be_taken(yard: Yard, strategy: str) -> None:
    yard.fill({"a": "1", "b": "1", "d/x": "1"})
    with session(yard, strategy) as inside:
        yard.fill({"a": "2", "b": "2", "new/y": "2"}, below=inside)
        shutil.rmtree(inside / "d")

    first = apply(yard, "a", "new")
    second = apply(yard)

    assert (first.complete, set(first.left)) == (False, {"b", "d", "d/x"})
    assert second.complete
    assert files(yard.workspace) == {"a": "2", "b": "2", "new/y": "2"}
    assert not (yard.workspace / "d").exists()


def test_discard_leaves_the_workspace_byte_identical(yard: Yard, strategy: str) -> None:
    yard.fill({"a": "1", "d/b": "2"})
    before = {path: path.lstat()[:9] for path in (yard.workspace, *yard.workspace.rglob("*"))}
    with session(yard, strategy) as inside:
        (inside / "a").write_text("2")
        shutil.rmtree(inside / "d")

    discard(yard.session)

    after = {path: path.lstat() for path in (yard.workspace, *yard.workspace.rglob("*"))}
    assert after.keys() == before.keys()
    assert all(
        (now[0], now[6], now[8]) == (before[p][0], before[p][6], before[p][8]) for p, now in after.items()
    )
