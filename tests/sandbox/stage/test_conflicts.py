"""Whatever the user does meanwhile to a file that the agent changed stays as the user has it, and is told."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

import pytest

from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.applying import reasons
from tests.sandbox.stage.strategies import STRATEGIES, session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Yard

    from sandbox.stage.apply import ApplyResult


def edit(path: Path) -> None:
    path.write_text("the user's")


def edit_of_equal_length(path: Path) -> None:
    """With the old times, too: only ctime and content tell."""
    status = path.stat()
    path.write_text("9")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def delete(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("the user's")


def symlink(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def mode(path: Path) -> None:
    path.chmod(0o600)


def replaced(path: Path) -> None:
    """As an editor saves: a new file renamed over the old one."""
    fresh = path.with_name(".swp")
    fresh.write_text("the user's")
    fresh.rename(path)


def the_folder_above(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.symlink_to("/etc")


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def the_same_again(path: Path) -> None:
    text = path.read_text()
    path.unlink()
    path.write_text(text)


def the_agents_own_change(path: Path) -> None:
    path.write_text("agent")


CONFLICTS: Final = (
    edit, edit_of_equal_length, delete, folder, symlink, pipe, mode, replaced, the_folder_above,
)  # fmt: skip
NONE: Final = (touch, the_same_again, the_agents_own_change)
AGENTS: Final[dict[str, Callable[[Path], object]]] = {
    "edits": lambda path: path.write_text("agent"),
    "deletes": lambda path: path.unlink(),
    "makes executable": lambda path: path.chmod(0o755),
}


def meanwhile(yard: Yard, strategy: str, agent: str, user: Callable[[Path], None]) -> ApplyResult:
    """Let the agent act, let somebody look, let the user act, and apply everything."""
    yard.fill({"d/f": "1", "free": "1"})
    with session(yard, strategy) as inside:
        AGENTS[agent](inside / "d/f")
        (inside / "free").write_text("agent")
    with open_stage(yard.session) as stage:
        compute_changes(stage)
    user(yard.workspace / "d/f")
    with open_stage(yard.session) as stage:
        return apply_changes(stage, compute_changes(stage).changes)


def look(path: Path) -> object:
    """Return what is there, told from all else that could be."""
    try:
        status = path.lstat()
    except OSError as error:
        return error.errno
    content = path.read_text() if path.is_file() else sorted(os.listdir(path)) if path.is_dir() else ""  # noqa: PTH208 - names only
    return status.st_ino, status.st_mode, content


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("user", CONFLICTS)
def test_what_the_user_did_stays_and_the_rest_is_applied(
    yard: Yard, strategy: str, user: Callable[[Path], None]
) -> None:
    for agent in ("edits", "deletes", "makes executable"):
        if (user, agent) == (delete, "deletes"):
            continue
        one = yard.again()
        kept: list[object] = []

        def act(path: Path, kept: list[object] = kept) -> None:
            user(path)
            kept.append(look(path))

        result = meanwhile(one, strategy, agent, act)

        assert reasons(result) == {"d/f": "conflict"}, agent
        assert look(one.workspace / "d/f") == kept[0], agent
        assert (one.workspace / "free").read_text() == "agent"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("user", NONE)
def test_what_changes_no_content_is_no_conflict(
    yard: Yard, strategy: str, user: Callable[[Path], None]
) -> None:
    """The twin: conflicts are found by content."""
    result = meanwhile(yard, strategy, "edits", user)

    assert reasons(result) == {}
    assert (yard.workspace / "d/f").read_text() == "agent"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("looked", [True, False])
@pytest.mark.parametrize(
    ("users", "agents", "told"), [(0o600, 0o644, "conflict"), (0o644, 0o600, "conflict"), (0o600, 0o600, "")]
)
def test_a_mode_that_the_user_set_meanwhile_stays_where_the_content_is_the_same(  # noqa: PLR0913 - a table
    yard: Yard, strategy: str, users: int, agents: int, told: str, *, looked: bool
) -> None:
    """Also where nobody had looked before, so that nobody knows what the mode was.

    The twin: the agent set the same one.
    """
    yard.fill({"conf": "1", "free": "1"})
    (yard.workspace / "conf").chmod(0o640)
    with session(yard, strategy) as inside:
        (inside / "conf").unlink()
        yard.fill({"conf": "1", "free": "agent"}, below=inside)
        (inside / "conf").chmod(agents)
    if looked:
        with open_stage(yard.session) as stage:
            compute_changes(stage)
    (yard.workspace / "conf").chmod(users)

    with open_stage(yard.session) as stage:
        result = apply_changes(stage, compute_changes(stage).changes)

    assert reasons(result) == ({"conf": told} if told else {})
    assert (yard.workspace / "conf").stat().st_mode & 0o777 == users
    assert (yard.workspace / "free").read_text() == "agent"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_both_deleted_it(yard: Yard, strategy: str) -> None:
    result = meanwhile(yard, strategy, "deletes", delete)

    assert reasons(result) == {}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_both_made_alike_keeps_the_mode_that_the_user_gave_it(yard: Yard, strategy: str) -> None:
    with session(yard, strategy) as inside:
        yard.fill({"new/f": "1", "g": "1"}, below=inside)
        (inside / "new/f").chmod(0o755)
    yard.fill({"new/f": "1"})
    (yard.workspace / "new/f").chmod(0o600)
    (yard.workspace / "new").chmod(0o700)

    with open_stage(yard.session) as stage:
        result = apply_changes(stage, compute_changes(stage).changes)

    assert reasons(result) == {}
    modes = {path: (yard.workspace / path).stat().st_mode & 0o777 for path in ("new", "new/f")}
    assert modes == {"new": 0o700, "new/f": 0o600}
    assert (yard.workspace / "g").read_text() == "1"
