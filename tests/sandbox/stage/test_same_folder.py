"""The file by which a bind is seen to be this machine's folder: there for a moment, and none left over."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from sandbox.stage.errors import StageError
from sandbox.workspace import open_workspace
from sandbox.workspace_mount import LEFT_BEHIND_SECONDS, require_same_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Yard

    from sandbox.docker_engine import DockerEngine

OLD = f".pairlock-{'0f' * 16}"


class Looking:
    """Looks for a path of a container whose workspace is some folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: list[str] = []

    async def has_path(self, _container: str, path: str) -> bool:
        """Look."""
        self.seen.append(Path(path).name)
        return (self._folder / Path(path).name).exists()


async def checked(yard: Yard, folder: Path) -> list[str]:
    """Check the yard's workspace against a folder, and return which names were looked for."""
    engine = Looking(folder)
    workspace = open_workspace(yard.workspace, state=yard.top / "state")
    await require_same_folder(cast("DockerEngine", engine), "c", workspace)
    return engine.seen


def aged(path: Path, seconds: float = LEFT_BEHIND_SECONDS + 60) -> Path:
    """Make something look as old as this."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)
    return path


def written(path: Path, text: str = "") -> Path:
    """Write a file."""
    path.write_text(text)
    return path


def made_folder(path: Path) -> Path:
    """Make a folder."""
    path.mkdir()
    return path


def linked(path: Path) -> Path:
    """Make a symlink to an empty file."""
    path.symlink_to(written(path.parent.parent / "elsewhere"))
    return path


def foreign(path: Path) -> Path:
    """Make a file of another user's."""
    os.chown(written(path), 4242, 4242)
    return path


async def test_the_same_folder_is_found_and_nothing_is_left(yard: Yard) -> None:
    (name,) = await checked(yard, yard.workspace)

    assert name.startswith(".pairlock-")
    assert list(yard.workspace.iterdir()) == []


async def test_another_folder_is_refused_and_nothing_is_left(yard: Yard) -> None:
    with pytest.raises(StageError, match="is another folder"):
        await checked(yard, yard.top)

    assert list(yard.workspace.iterdir()) == []


async def test_the_file_of_a_runner_that_was_killed_is_removed_by_the_next(yard: Yard) -> None:
    """SIGKILL while the engine looks leaves it in the user's folder."""
    aged(written(yard.workspace / OLD))

    await checked(yard, yard.workspace)

    assert list(yard.workspace.iterdir()) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: aged(written(folder / OLD), LEFT_BEHIND_SECONDS - 60),
        lambda folder: aged(written(folder / OLD, "content")),
        lambda folder: aged(made_folder(folder / OLD)),
        lambda folder: aged(linked(folder / OLD)),
        lambda folder: aged(written(folder / f"{OLD}0")),
        lambda folder: aged(written(folder / OLD.upper())),
        lambda folder: aged(written(folder / f"x{OLD}")),
        lambda folder: aged(written(folder / f"{OLD}\n")),
        pytest.param(
            lambda folder: aged(foreign(folder / OLD)),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away"),
        ),
    ],
    ids=["young", "full", "folder", "link", "longer", "upper case", "prefixed", "newline", "of another user"],
)
async def test_what_is_not_surely_such_a_file_stays(yard: Yard, make: Callable[[Path], Path]) -> None:
    """The folder is the user's: a session that runs beside this one may wait for a young one."""
    path = make(yard.workspace)

    await checked(yard, yard.workspace)

    assert list(yard.workspace.iterdir()) == [path]
