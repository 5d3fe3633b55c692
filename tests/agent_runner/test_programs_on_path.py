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


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with an `ssh` in it and another below it, which leave a file when they are started."""
    for folder in (tmp_path, tmp_path / "bin"):
        folder.mkdir(exist_ok=True)
        (folder / "ssh").write_text(f"#!/bin/sh\necho started >{tmp_path}/started\nexit 1\n")
        (folder / "ssh").chmod(0o755)
    return tmp_path


def started(place: Path, path: str) -> bool:
    """Ask an engine that ssh reaches, from within the folder, and tell whether its `ssh` was started."""
    done = subprocess.run(
        [sys.executable, "-m", "agent_runner", "image", "list"],
        cwd=place,
        env={
            "PATH": path,
            "HOME": str(place),
            "PAIRLOCK_STATE": str(place / "state"),
            "PYTHONPATH": str(CHECKOUT),
            "DOCKER_HOST": ENGINE,
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    return (place / "started").exists()


@pytest.mark.parametrize("path", [".:/nowhere", ":/nowhere", "bin:/nowhere", "/nowhere:./bin", ".", ""])
def test_no_part_of_path_means_the_folder_that_one_works_in(place: Path, path: str) -> None:
    """B35: a clone or an agent put there what it likes, `ssh` among it."""
    assert not started(place, path)


def test_a_whole_path_is_the_users_own_choice(place: Path) -> None:
    """The same program, named as people name one."""
    assert started(place, os.pathsep.join((".", str(place / "bin"), "/nowhere")))
