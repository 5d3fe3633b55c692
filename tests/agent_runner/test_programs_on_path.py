"""Programs that pairlock starts on the host come from whole paths of PATH, not from where one works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ENGINE = "ssh://user@127.0.0.2:1"
"""Nobody listens there."""
TASK = """\
version: 1
name: look
policy: read-only-review
workspace: work
model: scripted:script.yaml
prompt: Look.
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with an `ssh` in it and another below it, which leave a file when they are started."""
    for folder in (tmp_path, tmp_path / "bin"):
        folder.mkdir(exist_ok=True)
        (folder / "ssh").write_text(f"#!/bin/sh\necho started >{tmp_path}/started\nexit 1\n")
        (folder / "ssh").chmod(0o755)
    return tmp_path


def called(place: Path, path: str, *words: str, below: str = ".") -> int:
    """Call the command line from within a folder, with an engine that ssh reaches; return its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "agent_runner", *words],
        cwd=place / below,
        env={
            "PATH": path,
            "HOME": str(place),
            "PAIRLOCK_STATE": str(place / "state"),
            "PYTHONPATH": str(CHECKOUT),
            "DOCKER_HOST": ENGINE,
        },
        stdin=subprocess.DEVNULL, timeout=300, check=False,
    ).returncode  # fmt: skip


def started(place: Path, path: str, *words: str, below: str = ".") -> bool:
    """Call what asks the engine, and tell whether the folder's `ssh` was started."""
    assert called(place, path, *(words or ("image", "list")), below=below) == 4
    return (place / "started").exists()


@pytest.mark.parametrize("path", [".:/nowhere", ":/nowhere", "bin:/nowhere", "/nowhere:./bin", ".", ""])
def test_no_part_of_path_means_the_folder_that_one_works_in(place: Path, path: str) -> None:
    """B35: a clone or an agent put there what it likes, `ssh` among it."""
    assert not started(place, path)


def test_a_whole_path_is_the_users_own_choice(place: Path) -> None:
    """The same program, named as people name one."""
    assert started(place, os.pathsep.join((".", str(place / "bin"), "/nowhere")))


def test_no_part_of_path_lies_where_a_session_works(place: Path) -> None:
    """B35: an agent that writes at once, or a hasty review, puts an `ssh` where one looks for programs."""
    workspace = place / "work"
    (workspace / ".venv").mkdir(parents=True)
    (place / "bin").rename(workspace / ".venv/bin")
    (place / "by-link").symlink_to(workspace / ".venv/bin")
    script = place / "script.yaml"
    script.write_text("version: 1\nturns: [{actions: [finish --status done]}]\n")
    (place / "task.yaml").write_text(TASK)
    run = ("run", "a task", "--policy", "read-only-review", "--model", f"scripted:{script}", "-w", "work")

    for path in (workspace / ".venv/bin", place / "by-link", f"{place}/work/../work/.venv/bin"):
        assert not started(place, os.pathsep.join((str(path), "/nowhere")), *run)
    assert called(place, "/nowhere", "ci", "trust", "task.yaml") == 0
    assert not started(place, str(workspace / ".venv/bin"), "ci", "task.yaml")
    assert started(place, os.pathsep.join((str(workspace / ".venv/bin"), str(place))), *run)


@pytest.mark.parametrize("below", ["project", "project/src"])
@pytest.mark.parametrize("words", [("image", "list"), ("clean",)])
def test_no_part_of_path_lies_in_the_folder_or_repository_that_one_works_in(
    place: Path, below: str, words: tuple[str, ...]
) -> None:
    """Not every command has a workspace; the twins are programs beside the project, and another's."""
    (place / "project/src").mkdir(parents=True)
    (place / "project/.git").mkdir()
    (place / "project/.venv").mkdir()
    (place / "bin").rename(place / "project/.venv/bin")
    path = str(place / "project/.venv/bin")

    assert not started(place, path, *words, below=below)
    (place / "project/.git").rmdir()
    assert started(place, path, *words, below="project/src")
    (place / "started").unlink()
    assert started(place, os.pathsep.join((path, str(place))), *words, below=below)


def test_no_part_of_path_lies_in_a_repository_around_the_nearest(place: Path) -> None:
    """A submodule has a `.git` of its own, and the virtual environment may lie in what holds it."""
    (place / "project/vendored/.git").mkdir(parents=True)
    (place / "project/.git").mkdir()
    (place / "bin").rename(place / "project/bin")
    path = str(place / "project/bin")

    assert not started(place, path, below="project/vendored")
    (place / "project/.git").rmdir()
    assert started(place, path, below="project/vendored")
