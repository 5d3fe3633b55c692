"""For any tree and any change of it, `git apply` makes of the patch what `apply` makes of the stage."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.stage.changes import compute_changes
from sandbox.stage.diff import render_diff
from sandbox.stage.feeding import aside_for_git
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.test_diff import git_apply, tree

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard

NAMES: Final = st.sampled_from(
    ["a", "b", "c d", 'q"uote', "new\nline", "tab\t", "back\\slash", "\u00e9", os.fsdecode(b"\xff\x01"),
     "-rf", " lead", "trail ", "{x => y}", "\u202egnp", "+++ b", "n" * 255]
)  # fmt: skip
PATHS: Final = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENT: Final = st.one_of(
    st.sampled_from(
        [
            b"",
            b"\n",
            b"one",
            b"one\n",
            b"one\r\ntwo\r\n",
            b"\0binary",
            b"\xff\xfe\n",
            b"--- a\n+++ b\n@@ -1 +1 @@\n",
        ]
    ),
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"x\n", b"y\n", b"z\n"]), max_size=30).map(b"".join),
)
ENTRY: Final = st.one_of(
    st.tuples(CONTENT, st.sampled_from([0o644, 0o755])),
    st.sampled_from(["no", "./way", "c d/no", "no\nway"]).map(lambda target: (target, 0)),
)
"""No symlink leads in a circle: git does not look below one, though its patch removes it."""
TREES: Final = st.dictionaries(PATHS, ENTRY, max_size=7)


def build(root: Path, entries: dict[str, tuple[bytes | str, int]]) -> None:
    """Make what can be made of a tree: a name cannot be a file and a folder."""
    for path, (what, mode) in entries.items():
        target = root / path
        with suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(what, str):
                target.symlink_to(what)
            else:
                target.write_bytes(what)
                target.chmod(mode)


def become(root: Path, entries: dict[str, tuple[bytes | str, int]], kept: list[str]) -> None:
    """Turn a tree into another, but for what stays and for what moves as it is."""
    for path in kept:
        source, moved = root / path, root / f"moved-{path.replace('/', '-')[:200]}"
        if os.path.lexists(source) and not source.is_dir():
            source.rename(moved)
    for child in list(root.iterdir()):
        if not child.name.startswith("moved-"):
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    build(root, entries)


def examples() -> int:
    """Return how many trees are tried: few each day, more by hand."""
    return int(os.environ.get("PAIRLOCK_TREES", "40"))


@settings(max_examples=examples(), deadline=None, suppress_health_check=list(HealthCheck))
@given(before=TREES, after=TREES, data=st.data())
def test_git_makes_of_the_patch_what_the_agent_made(
    fresh_yard: Yard,
    before: dict[str, tuple[bytes | str, int]],
    after: dict[str, tuple[bytes | str, int]],
    data: st.DataObject,
) -> None:
    """Binary content, modes, renames, changes of type, missing newlines, empty files, names of every kind."""
    yard = fresh_yard.again()
    build(yard.workspace, before)
    there = sorted(tree(yard.workspace))
    kept = data.draw(st.lists(st.sampled_from(there), unique=True, max_size=3)) if there else []
    with yard.mounted(yard.plan()) as inside:
        become(inside, after, kept)
        wanted = tree(inside)

    with open_stage(yard.session) as stage:
        found = compute_changes(stage)
        patch = render_diff(stage, found.changes)

    assert all("folder" in trouble.reason or "same" in trouble.reason for trouble in patch.left_out)
    if patch.text:
        git_apply(yard, patch.text)
    assert tree(yard.workspace) == wanted
    shutil.rmtree(yard.top)


@pytest.mark.parametrize(
    "shape", ["folder by file", "file by folder", "symlink by folder", "folder by symlink"]
)
def test_what_changes_its_type_with_all_below_it_goes_through_git(yard: Yard, shape: str) -> None:
    """What git deletes first makes room for what it makes."""
    before, after = shape.split(" by ")
    build(yard.workspace, {"x/in": (b"1\n", 0o644), "real/in": (b"1\n", 0o644)} if before == "folder" else {})
    if before == "file":
        build(yard.workspace, {"x": (b"1\n", 0o644)})
    elif before == "symlink":
        build(yard.workspace, {"real/in": (b"1\n", 0o644), "x": ("real", 0)})
    made: dict[str, dict[str, tuple[bytes | str, int]]] = {
        "folder": {"x/new/in": (b"2\n", 0o644)},
        "file": {"x": (b"2\n", 0o755)},
        "symlink": {"x": ("real", 0)},
    }

    with yard.mounted(yard.plan()) as inside:
        shutil.rmtree(inside / "x") if before == "folder" else (inside / "x").unlink()
        build(inside, made[after])
        wanted = tree(inside)
    with open_stage(yard.session) as stage:
        patch = render_diff(stage, compute_changes(stage).changes, aside=aside_for_git)

    git_apply(yard, patch.text)
    assert tree(yard.workspace) == wanted


@pytest.mark.parametrize("name", ["trail /a", "a /b /c", " /x", "two  /x", "end ", "a b"])
def test_an_empty_file_below_a_name_that_ends_with_a_space_goes_through_git(yard: Yard, name: str) -> None:
    """Nothing but the first line of its patch says what it is called."""
    with yard.mounted(yard.plan()) as inside:
        build(inside, {name: (b"", 0o644), name + "2": (b"1\n", 0o755)})
    with open_stage(yard.session) as stage:
        patch = render_diff(stage, compute_changes(stage).changes).text

    git_apply(yard, patch)

    assert tree(yard.workspace) == {name: ("-", b""), name + "2": ("x", b"1\n")}


def test_a_patch_applies_to_the_index_of_a_repository_too(yard: Yard) -> None:
    """As a person keeps it: `git apply --index`, which asks more of the `index` lines."""
    yard.fill({"a": "1\n", "b": "2\n"})
    git = ["/usr/bin/git", "-c", "user.name=u", "-c", "user.email=u@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=yard.workspace, check=True)
    with yard.mounted(yard.plan()) as inside:
        (inside / "a").write_bytes(b"\0now binary")
        (inside / "b").rename(inside / "c")
    with open_stage(yard.session) as stage:
        patch = render_diff(stage, compute_changes(stage).changes).text

    subprocess.run([*git, "apply", "--index", "-"], cwd=yard.workspace, check=True, input=patch)
    told = subprocess.run(
        [*git, "status", "--porcelain"], cwd=yard.workspace, check=True, capture_output=True
    )

    assert told.stdout == b"M  a\nR  b -> c\n"
