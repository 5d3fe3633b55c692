"""One contract for both ways of resolving: openat2, and part by part."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.beneath import Beneath, has_openat2
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Yard


@pytest.fixture(params=["openat2", "walk"])
def beneath(yard: Yard, request: pytest.FixtureRequest) -> Iterator[Beneath]:
    if request.param == "openat2":
        assert has_openat2()
    with Beneath.open(yard.workspace, walk=request.param == "walk") as folder:
        yield folder


def read(beneath: Beneath, path: str) -> bytes:
    with beneath.file(path) as descriptor:
        return os.read(descriptor, 100)


def refusal(beneath: Beneath, path: str) -> str:
    with pytest.raises(PathRefusedError) as caught:
        read(beneath, path)
    return caught.value.reason


def test_a_plain_path_is_opened(yard: Yard, beneath: Beneath) -> None:
    """The positive twin of every refusal below."""
    yard.fill({"a": "one", "d/e/f": "two"})

    assert [read(beneath, path) for path in ("a", "d/e/f")] == [b"one", b"two"]
    assert beneath.stat("d/e/f") is not None
    assert beneath.stat("d/none/f") is None
    assert beneath.stat("a/f") is None


@pytest.mark.parametrize("path", ["../a", "d/../../a", "/etc/passwd", "d//a", "./a", "a\0b", "d/", "a/./b"])
def test_a_path_that_is_not_plain_is_refused(beneath: Beneath, path: str) -> None:
    """B06."""
    assert refusal(beneath, path) == "it is not a plain relative path"


def test_a_symlink_is_refused_wherever_it_stands(yard: Yard, beneath: Beneath) -> None:
    """B01, B03: at the end, on the way, and one that stays inside."""
    yard.fill({"outside": "secret"}, below=yard.top)
    yard.fill({"d/a": "1"})
    (yard.workspace / "last").symlink_to(yard.top / "outside")
    (yard.workspace / "way").symlink_to(yard.top)
    (yard.workspace / "inner").symlink_to("d")

    assert [refusal(beneath, path) for path in ("last", "way/outside", "inner/a")] == [
        "a symlink is in the way"
    ] * 3
    with pytest.raises(PathRefusedError, match="symlink"):
        beneath.stat("way/outside")
    assert beneath.readlink("inner") == "d"


@pytest.mark.parametrize("alias", ["/proc/self/root", "/proc/self/cwd", "/proc/self/fd", "/dev/fd"])
def test_aliases_of_the_machine_are_refused(yard: Yard, beneath: Beneath, alias: str) -> None:
    """B12: a symlink to a magic link is a symlink."""
    (yard.workspace / "alias").symlink_to(alias)

    assert refusal(beneath, "alias/etc/hostname") == "a symlink is in the way"


def test_another_mount_is_refused(yard: Yard, beneath: Beneath) -> None:
    (yard.workspace / "m").mkdir()
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "tmpfs", yard.workspace / "m"], check=True)
    try:
        (yard.workspace / "m/a").write_text("1")

        assert refusal(beneath, "m/a") == "it leaves the folder or lies on another mount"
    finally:
        subprocess.run(["/usr/bin/umount", yard.workspace / "m"], check=True)


def test_pipes_sockets_and_folders_are_no_files_and_nothing_blocks(yard: Yard, beneath: Beneath) -> None:
    """B17."""
    os.mkfifo(yard.workspace / "pipe")
    (yard.workspace / "d").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(yard.workspace / "s"))

    assert refusal(beneath, "pipe") == "it is not a regular file"
    assert refusal(beneath, "d") == "it is not a regular file"
    assert refusal(beneath, "s") == "it is a socket or a pipe"


def test_paths_too_long_or_too_deep_are_refused(beneath: Beneath) -> None:
    assert refusal(beneath, "/".join(["d"] * 300)) == "it is too long or too deep"
    assert refusal(beneath, "/".join(["d" * 200] * 30)) == "it is too long or too deep"


def test_a_folder_swapped_for_a_symlink_is_never_followed(yard: Yard, beneath: Beneath) -> None:
    """B04: raced 10,000 times while another process swaps a folder and a symlink under the same name."""
    yard.fill({"outside/f": "secret"}, below=yard.top)
    yard.fill({"d/f": "inside"})
    (yard.workspace / "link").symlink_to(yard.top / "outside")
    child = os.fork()
    if child == 0:
        swap(yard.workspace)
    try:
        seen = set()
        for _ in range(10_000):
            try:
                seen.add(read(beneath, "d/f"))
            except PathRefusedError as error:
                seen.add(error.reason)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)

    assert b"secret" not in seen
    assert seen >= {b"inside"}
    assert len(seen) > 1, "the race was never lost or won: the swapper did not run"


def swap(workspace: Path) -> None:
    """Exchange a folder and a symlink until killed."""
    from sandbox.stage import kernel

    while True:
        kernel.renameat2(-100, str(workspace / "d"), -100, str(workspace / "link"), kernel.RENAME_EXCHANGE)


def test_the_race_can_be_lost_without_the_protection(yard: Yard) -> None:
    """The twin of the race: plain open follows the swapped symlink, so the race is real."""
    yard.fill({"outside/f": "secret"}, below=yard.top)
    yard.fill({"d/f": "inside"})
    (yard.workspace / "link").symlink_to(yard.top / "outside")
    child = os.fork()
    if child == 0:
        swap(yard.workspace)
    try:
        seen = set()
        for _ in range(100_000):
            seen.add((yard.workspace / "d/f").read_text())
            if len(seen) > 1:
                break
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        shutil.rmtree(yard.top / "outside")

    assert "secret" in seen
