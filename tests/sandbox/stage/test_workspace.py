from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING

import pytest

from sandbox.workspace import WorkspaceError, open_workspace

if TYPE_CHECKING:
    from pathlib import Path


def refusal(asked: str | Path, state: Path) -> WorkspaceError:
    with pytest.raises(WorkspaceError) as caught:
        open_workspace(asked, state=state)
    assert "\n" not in caught.value.message
    assert not caught.value.message.endswith(".")
    return caught.value


def test_an_ordinary_folder_is_a_workspace(tmp_path: Path) -> None:
    """The positive twin of every refusal below."""
    folder = tmp_path / "project"
    folder.mkdir()

    found = open_workspace(folder, state=tmp_path / "state")

    assert found.path == folder
    assert found.identity.inode == folder.stat().st_ino
    assert found.owner_uid == os.geteuid()


SYSTEM = [
    "/",
    "//",
    "/etc",
    "/etc/ssl",
    "/usr",
    "/usr/bin",
    "/usr/../etc",
    "/var",
    "/var/log",
    "/proc",
    "/sys",
]
SYSTEM += ["/proc/self", "/proc/self/root", "/dev", "/boot", "/run", "/tmp", "/home"]


@pytest.mark.parametrize("name", SYSTEM)
def test_system_folders_are_refused(name: str, tmp_path: Path) -> None:
    """B18: however it is spelled, a system folder is no workspace."""
    assert refusal(name, tmp_path / "state").reason == "system"


def test_a_symlink_to_a_system_folder_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "project"
    link.symlink_to("/etc")

    assert refusal(link, tmp_path / "state").reason == "system"


def test_the_home_and_what_holds_it_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither $HOME nor the password file's home, so that an emptied $HOME opens nothing."""
    home = tmp_path / "people" / "ada"
    project = home / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))

    assert refusal(home, tmp_path / "state").reason == "home"
    assert refusal(home.parent, tmp_path / "state").reason == "home"
    assert open_workspace(project, state=tmp_path / "state").path == project
    monkeypatch.delenv("HOME")
    assert refusal(pwd.getpwuid(os.getuid()).pw_dir, tmp_path / "state").reason == "home"


@pytest.mark.parametrize("name", [".ssh", ".aws", ".gnupg", ".ssh/keys", ".config/gcloud"])
def test_folders_of_credentials_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).mkdir(parents=True)

    assert refusal(tmp_path / name, tmp_path / "state").reason == "secrets"


def test_the_state_folder_is_neither_inside_nor_outside(tmp_path: Path) -> None:
    """B105: so no session sees its own ledger."""
    outer, state = tmp_path / "w", tmp_path / "w" / "state"
    (state / "x").mkdir(parents=True)

    assert refusal(outer, state).reason == "state"
    assert refusal(state, state).reason == "state"
    assert refusal(state / "x", state).reason == "state"


def test_a_folder_with_an_engines_socket_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    with pytest.raises(WorkspaceError) as caught:
        open_workspace(folder, state=tmp_path / "state", engine_sockets=(str(folder / "docker.sock"),))

    assert caught.value.reason == "engine"


def test_what_is_no_folder_is_refused_with_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
    (tmp_path / "loop").symlink_to("loop")

    assert refusal(tmp_path / "none", tmp_path / "state").reason == "missing"
    assert refusal("", tmp_path / "state").reason == "missing"
    assert refusal("a\0b", tmp_path / "state").reason == "missing"
    assert "is a file" in refusal(tmp_path / "file", tmp_path / "state").message
    assert "is a socket" in refusal(tmp_path / "docker.sock", tmp_path / "state").message
    assert refusal(tmp_path / "loop", tmp_path / "state").reason == "unreadable"
    assert refusal(tmp_path / ("n" * 300), tmp_path / "state").reason == "unreadable"


def test_a_name_with_control_characters_is_escaped_in_the_message(tmp_path: Path) -> None:
    assert "\\x1b" in refusal(tmp_path / "a\x1b[2Jb", tmp_path / "state").message


def test_a_moved_folder_keeps_its_key_and_a_new_one_at_its_place_has_another(tmp_path: Path) -> None:
    """The identity is the folder's, not its path's."""
    first = tmp_path / "a"
    first.mkdir()
    before = open_workspace(first, state=tmp_path / "state").identity

    moved = open_workspace(first.rename(tmp_path / "b"), state=tmp_path / "state").identity
    first.mkdir()
    fresh = open_workspace(first, state=tmp_path / "state").identity

    assert before.key == moved.key
    assert before.same_folder(moved)
    assert fresh.key != before.key
    assert not fresh.same_folder(before)
