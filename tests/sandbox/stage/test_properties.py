"""For random trees and operations, what a session applies is what the operations do to a plain copy."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.discard import discard
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.strategies import STRATEGIES, session

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard

    from sandbox.stage.apply import ApplyResult

EXAMPLES = int(os.environ.get("PAIRLOCK_TREES", "100"))
"""How many trees the long tests try with each strategy."""
HIDDEN, PROTECTED = ".env", "guarded"
NAMES = st.sampled_from(["a", "b", "c", HIDDEN, PROTECTED, "é \n"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TEXT = st.sampled_from(["", "one", "two", "three\n"])
MODE = st.sampled_from([0o644, 0o755, 0o600])
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), PATHS, TEXT),
    st.tuples(st.just("append"), PATHS, TEXT),
    st.tuples(st.just("mkdir"), PATHS, st.none()),
    st.tuples(st.just("remove"), PATHS, st.none()),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("chmod"), PATHS, MODE),
    st.tuples(st.just("symlink"), PATHS, st.sampled_from(["a", "b/c", "./a"])),
    st.tuples(st.just("link"), PATHS, PATHS),
)
LINKS = st.tuples(st.sampled_from(["a", "b/c", "./a", "c"]), st.none())
TREES = st.dictionaries(PATHS, st.one_of(st.tuples(TEXT, MODE), LINKS), max_size=8)
Tree = dict[str, tuple[str, int | None]]
"""Files with their text and mode, and symlinks with their target and None."""
Operations = list[tuple[str, str, object]]
Look = dict[str, tuple[str, int, bytes]]


def build(root: Path, tree: Tree) -> None:
    for path, (text, mode) in tree.items():
        if any(parent.is_symlink() for parent in (root / path).parents if parent != root):
            continue
        with suppress(OSError):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if mode is None:
                (root / path).symlink_to(text)
            else:
                (root / path).write_text(text)
                (root / path).chmod(mode)


def operate(root: Path, verb: str, path: str, argument: object) -> None:
    """Do one thing an agent may do; what cannot be done is not done."""
    target = root / path
    if any(parent.is_symlink() for parent in (target, *target.parents) if parent != root):
        return
    with suppress(OSError, shutil.Error):
        if verb == "write":
            target.write_text(str(argument))
        elif verb == "append":
            with target.open("a") as stream:
                stream.write(str(argument))
        elif verb == "mkdir":
            target.mkdir(parents=True)
        elif verb == "remove":
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        elif verb == "move":
            move(target, root / str(argument))
        elif verb == "chmod":
            target.chmod(int(str(argument)) | (0o111 if target.is_dir() else 0))
        elif verb == "symlink":
            target.symlink_to(str(argument))
        elif not target.is_dir():
            (root / str(argument)).hardlink_to(target)


def move(source: Path, target: Path) -> None:
    """Rename as `mv` does where a folder cannot be renamed across layers."""
    if target.exists() or target.is_symlink() or not target.parent.is_dir() or source in target.parents:
        return
    if target.parent.is_symlink():
        return
    shutil.move(source, target)


def look(root: Path) -> Look:
    """Return what matters of a tree: kinds, permissions of files and folders, contents."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        key = str(path.relative_to(root))
        if stat.S_ISLNK(status.st_mode):
            found[key] = ("symlink", 0, os.fsencode(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            found[key] = ("folder", stat.S_IMODE(status.st_mode), b"")
        else:
            found[key] = ("file", stat.S_IMODE(status.st_mode), path.read_bytes())
    return found


def apart(path: str) -> bool:
    """Tell whether a path is hidden or protected, or lies in what is."""
    return bool({HIDDEN, PROTECTED} & set(path.split("/")))


def finish(yard: Yard) -> ApplyResult:
    with open_stage(yard.session) as stage:
        found = compute_changes(
            stage,
            hide=yard.patterns(HIDDEN),
            protect=yard.patterns(PROTECTED),
        )
        assert found.troubles == ()
        return apply_changes(stage, found.changes)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=TREES, operations=st.lists(OPERATIONS, max_size=12))
def test_stage_then_apply_equals_the_operations_on_a_copy(
    fresh_yard: Yard, strategy: str, tree: Tree, operations: Operations
) -> None:
    """Save for what is hidden or protected, which stays as it was."""
    equals(fresh_yard.again(), strategy, tree, operations)


@pytest.mark.long
@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=TREES, operations=st.lists(OPERATIONS, max_size=40))
def test_many_operations_on_many_trees_are_applied_as_they_were_made(
    fresh_yard: Yard, strategy: str, tree: Tree, operations: Operations
) -> None:
    equals(fresh_yard.again(), strategy, tree, operations)


def equals(yard: Yard, strategy: str, tree: Tree, operations: Operations) -> None:
    build(yard.workspace, tree)
    model = yard.top / "model"
    shutil.copytree(yard.workspace, model, symlinks=True, ignore=shutil.ignore_patterns(HIDDEN))
    before = look(yard.workspace)

    with session(yard, strategy, HIDDEN) as inside:
        for operation in operations:
            operate(inside, *operation)
            operate(model, *operation)
        seen = look(inside)
    assert seen == look(model)
    result = finish(yard)

    after, wanted = look(yard.workspace), look(model)
    kept = {path: what for path, what in before.items() if apart(path)}
    assert {path: what for path, what in after.items() if apart(path)} == kept
    refused = {item.path for item in result.not_applied}
    led = behind_guarded(before, seen)
    links = {
        path for path in refused if led and path in seen and seen[path][0] == "symlink"
    }  # they may lead there as well
    assert all(explained(path, kept) or led & {*path.split("/")} for path in refused - links)
    skip = {path for path in refused if not apart(path)}
    assert rest(after, skip, kept) == rest(wanted, skip, kept)
    shutil.rmtree(yard.top)


def explained(path: str, kept: Look) -> bool:
    """Tell whether a refusal is due to something hidden or protected: itself, below it, or in its way."""
    return apart(path) or any(
        other.startswith(path + "/") or path.startswith(other.partition("/")[0] + "/") for other in kept
    )


def behind_guarded(*trees: Look) -> set[str]:
    """Return every name in the text of symlinks that are protected, and of those that these may pass."""
    links = [
        (set(path.split("/")), set(os.fsdecode(text).split("/")))
        for tree in trees
        for path, (kind, _, text) in tree.items()
        if kind == "symlink"
    ]
    led = {PROTECTED}
    for _ in links:
        led.update(*(text for names, text in links if names & led))
    return led - {PROTECTED, "."}


def rest(tree: Look, skip: set[str], kept: Look) -> Look:
    """Leave out what is apart, what was refused with all in it, and the folders that hold what was kept."""
    folders = {path.rsplit("/", n)[0] for path in kept for n in range(1, path.count("/") + 1)}
    return {
        path: what
        for path, what in tree.items()
        if not apart(path)
        and path not in folders
        and not any(path == s or path.startswith(s + "/") for s in skip)
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=TREES, operations=st.lists(OPERATIONS, max_size=12))
def test_discard_leaves_the_workspace_byte_identical(
    fresh_yard: Yard, strategy: str, tree: Tree, operations: Operations
) -> None:
    """Modes and times included: nothing the agent does reaches the user's files."""
    unchanged(fresh_yard.again(), strategy, tree, operations)


@pytest.mark.long
@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=TREES, operations=st.lists(OPERATIONS, max_size=40))
def test_many_discards_leave_every_workspace_as_it_was(
    fresh_yard: Yard, strategy: str, tree: Tree, operations: Operations
) -> None:
    unchanged(fresh_yard.again(), strategy, tree, operations)


def unchanged(yard: Yard, strategy: str, tree: Tree, operations: Operations) -> None:
    build(yard.workspace, tree)
    times = {str(path): path.lstat().st_mtime_ns for path in (yard.workspace, *yard.workspace.rglob("*"))}
    before = look(yard.workspace)

    with session(yard, strategy, HIDDEN) as inside:
        for operation in operations:
            operate(inside, *operation)
    discard(yard.session)

    assert look(yard.workspace) == before
    assert {
        str(path): path.lstat().st_mtime_ns for path in (yard.workspace, *yard.workspace.rglob("*"))
    } == times
    shutil.rmtree(yard.top)
