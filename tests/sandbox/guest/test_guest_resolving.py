"""Paths: the kernel's way of staying beneath a folder, and our own, agree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.guest import beneath
from sandbox.guest.beneath import Beneath
from sandbox.guest.refusal import RefusedError
from tests.sandbox.guest.shared_folder import leaving, names

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["kernel", "walk"])
def resolver(request: pytest.FixtureRequest, shared: Path) -> Iterator[Beneath]:
    """Return both ways of resolving a path: they must agree."""
    made = Beneath(str(shared))
    made._walks = request.param == "walk"
    yield made
    os.close(made.root)


def test_a_straight_path_leads_through_no_symlink_by_either_way(resolver: Beneath, shared: Path) -> None:
    """Neither above the last name nor at it; the same paths are followed otherwise, and plain ones opened."""
    (shared / "real").mkdir()
    (shared / "real/file").write_text("x")
    (shared / "way").symlink_to("real")
    (shared / "name").symlink_to("real/file")
    straight = resolver.straight()

    for path in (b"way/file", b"name", b"way/../real/file"):
        os.close(resolver.open(path, os.O_RDONLY))
        with pytest.raises(RefusedError) as refused:
            straight.open(path, os.O_RDONLY)
        assert refused.value.code == "path"
    os.close(straight.open(b"real/file", os.O_RDONLY))


def test_the_walk_and_the_kernel_agree(resolver: Beneath, shared: Path) -> None:
    paths = leaving(shared)
    (shared / "folder" / "file").write_text("here")
    (shared / "folder" / "back").symlink_to("../folder/./file")
    (shared / "inside").symlink_to("folder/back")

    for path in paths:
        with pytest.raises(RefusedError) as refused:
            os.close(resolver.open(path.encode(), os.O_RDONLY))
        assert refused.value.code == "path", path
    for path in ("folder/file", "folder/../folder/file", "inside", "folder/back", "./folder//file"):
        descriptor = resolver.open(path.encode(), os.O_RDONLY)
        assert os.read(descriptor, 10) == b"here"
        os.close(descriptor)
    for path, code in (
        ("nothing", "not-found"),
        ("folder/file/x", "not-folder"),
        ("folder/file/..", "not-folder"),
    ):
        with pytest.raises(RefusedError) as refused:
            os.close(resolver.open(path.encode(), os.O_RDONLY))
        assert refused.value.code == code, path


def test_neither_way_leaks_a_descriptor(resolver: Beneath, shared: Path) -> None:
    leaving(shared)
    (shared / "folder" / "file").touch()
    before = names(Path("/proc/self/fd"))

    for path in (
        b"folder/file",
        b"folder/../folder/file",
        b"chain",
        b"out/outside",
        b"folder/nothing",
        b"folder/..",
    ):
        try:
            os.close(resolver.open(path, os.O_RDONLY))
        except RefusedError:
            continue

    assert names(Path("/proc/self/fd")) == before


def test_messages_show_no_control_characters() -> None:
    assert beneath.shown(b"a\x1b[2J\n\xff\xe2\x80\xae") == "a\\x1b[2J\\n\\xff\\u202e"
