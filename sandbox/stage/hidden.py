"""Build the lower layer that makes hidden paths absent: whiteouts, and the folders above them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sandbox.stage.beneath import parents_of

if TYPE_CHECKING:
    from pathlib import Path

_COPIED_ATTRIBUTES: Final = ("system.posix_acl_access", "system.posix_acl_default")


def can_make_whiteout(folder: Path) -> bool:
    """Tell, by trying, whether this user may make a whiteout in `folder` (Linux 5.8, not on overlayfs)."""
    probe = folder / ".whiteout-try"
    try:
        os.mknod(probe, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    except OSError:
        return False
    probe.unlink()
    return True


def can_mark_opaque(folder: Path) -> bool:
    """Tell, by trying, whether `folder` keeps user attributes, which `userxattr` needs."""
    try:
        os.setxattr(folder, "user.pairlock.try", b"y", follow_symlinks=False)
        os.removexattr(folder, "user.pairlock.try", follow_symlinks=False)
    except OSError:
        return False
    return True


def build_hidden_layer(layer: Path, workspace: Path, absent: tuple[str, ...]) -> None:
    """Put a whiteout in `layer` for each path of `absent`, below folders that look like the workspace's.

    A folder that exists in several layers shows the attributes of the topmost one, so the folders made here
    carry those of the workspace.

    Args:
        layer: An empty folder.
        workspace: Where the folders' attributes are copied from.
        absent: Relative paths; none lies inside another.
    """
    parents = sorted({parent for path in absent for parent in parents_of(path)})
    for parent in parents:
        (layer / parent).mkdir(mode=0o700)
    for path in absent:
        os.mknod(layer / path, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    for parent in (*reversed(parents), ""):
        copy_folder_attributes(workspace / parent, layer / parent)


def copy_folder_attributes(source: Path, target: Path) -> None:
    """Give `target` the mode, owner (where this user may), access list and times of `source`."""
    status = source.lstat()
    for name in _COPIED_ATTRIBUTES:
        with suppress(OSError):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False))
    with suppress(PermissionError):
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    target.chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
