"""A runtime folder that does not serve is not used; one that is somebody else's is never trusted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.door import dead_sockets, socket_path
from sandbox.errors import SandboxError
from sandbox.neutral import sweep_names
from sandbox.runtime_folder import made_private, require_private, runtime_folder

if TYPE_CHECKING:
    from pathlib import Path

SESSION = "0d0d0d0d0d0d"
OWN = f"/tmp/pairlock-{os.getuid()}"


def chosen(folder: Path) -> str:
    return str(runtime_folder("pairlock", {"XDG_RUNTIME_DIR": str(folder)}))


def test_a_runtime_folder_of_this_user_is_used(tmp_path: Path) -> None:
    """The positive twin."""
    assert chosen(tmp_path) == str(tmp_path / "pairlock")


def test_a_runtime_folder_that_is_gone_is_not_used(tmp_path: Path) -> None:
    """A login that ended, an environment that a job inherited."""
    assert chosen(tmp_path / "gone") == OWN


def test_a_file_in_place_of_the_runtime_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert chosen(tmp_path / "file") == OWN


def test_a_runtime_folder_too_long_for_a_sockets_path_is_not_used(tmp_path: Path) -> None:
    """107 bytes are what an address of a unix socket holds."""
    room = 107 - len("/pairlock/") - len(SESSION) - len(os.fsencode(tmp_path)) - 1
    fits, long = tmp_path / ("x" * room), tmp_path / ("x" * (room + 1))
    fits.mkdir()
    long.mkdir()

    assert chosen(fits) == str(fits / "pairlock")
    assert len(os.fsencode(fits / "pairlock" / SESSION)) == 107
    assert chosen(long) == OWN


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_runtime_folder_of_another_user_is_not_used(tmp_path: Path) -> None:
    """After `su` or `sudo` the variable still names the first user's."""
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 23456, 23456)

    assert chosen(tmp_path / "theirs") == OWN


def test_the_door_and_the_names_of_mounts_choose_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder is gone, a session starts all the same."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))

    assert str(socket_path(SESSION).parent) == OWN


@pytest.mark.parametrize("kind", ["open", "link", "file", "theirs"])
def test_a_folder_that_another_user_made_first_is_refused_and_never_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Anybody can make a folder in /tmp; `clean` takes nothing out of it, and goes on."""
    if kind == "theirs" and os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for folder in (tmp_path / "pairlock", tmp_path / "pairlock-mounts"):
        match kind:
            case "file":
                folder.touch()
            case "link":
                (tmp_path / "elsewhere").mkdir(mode=0o700, exist_ok=True)
                folder.symlink_to(tmp_path / "elsewhere")
            case _:
                folder.mkdir(mode=0o700)
                folder.chmod(0o777 if kind == "open" else 0o700)
                os.chown(folder, 23456 if kind == "theirs" else -1, -1)

    sockets = dead_sockets()
    with pytest.raises(SandboxError, match="not a private folder") as caught:
        sweep_names(remove=False)

    assert sockets == []
    assert caught.value.hint is not None
    with pytest.raises(SandboxError, match="not a private folder"):
        made_private(tmp_path / "pairlock")


def test_a_private_folder_is_made_once(tmp_path: Path) -> None:
    """The positive twin."""
    folder = made_private(tmp_path / "pairlock")

    assert made_private(folder) == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    require_private(folder)
