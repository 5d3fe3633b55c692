"""Access lists: the user's hold for what is applied, the agent's never arrive."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.opened import open_stage

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
UNDEFINED = 0xFFFFFFFF


def access_list(uid: int, mask: int = 7) -> bytes:
    """Return rwx for one more user: tag, permissions, id, as linux/posix_acl_xattr.h has it."""
    entries = [
        (1, 7, UNDEFINED),
        (2, 7, uid),
        (4, 5, UNDEFINED),
        (0x10, mask, UNDEFINED),
        (0x20, 5, UNDEFINED),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def users(path: Path) -> list[int]:
    """Return the users that an access list names."""
    if ACCESS not in os.listxattr(path):
        return []
    raw = os.getxattr(path, ACCESS)[4:]
    entries = [struct.unpack_from("<HHI", raw, at) for at in range(0, len(raw), 8)]
    return [uid for tag, _, uid in entries if tag == 2]


def apply_all(yard: Yard) -> None:
    with open_stage(yard.session) as stage:
        assert apply_changes(stage, compute_changes(stage).changes).not_applied == ()


def test_a_new_file_gets_what_its_folder_gives_new_files(yard: Yard) -> None:
    """And not what the top folder gives, where it was prepared."""
    for name in ("shared", "plain"):
        (yard.workspace / name).mkdir()
    os.setxattr(yard.workspace, DEFAULT, access_list(4000))
    os.setxattr(yard.workspace / "shared", DEFAULT, access_list(5000))
    with yard.mounted(yard.plan()) as inside:
        yard.fill({"top": "x", "shared/a": "x", "shared/new/b": "x", "plain/c": "x"}, below=inside)

    apply_all(yard)

    named = {name: users(yard.workspace / name) for name in ("top", "shared/a", "plain/c")}
    assert named == {"top": [4000], "shared/a": [5000], "plain/c": []}
    assert DEFAULT in os.listxattr(yard.workspace / "shared/new")


def test_the_agents_access_lists_do_not_arrive(yard: Yard) -> None:
    def agent(inside: Path) -> None:
        yard.fill({"d/a": "x"}, below=inside)
        os.setxattr(inside / "d", DEFAULT, access_list(6000))
        os.setxattr(inside / "d/a", ACCESS, access_list(6000))
        os.setxattr(inside / "d/a", "user.mine", b"x")

    with yard.mounted(yard.plan()) as inside:
        agent(inside)

    apply_all(yard)

    applied = [yard.workspace / "d", yard.workspace / "d/a"]
    assert [os.listxattr(path) for path in applied] == [[], []]
