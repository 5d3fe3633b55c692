"""Rename what lies in an open folder to another, and exchange two such names, on any filesystem."""

from __future__ import annotations

import errno
import os
from typing import Final

from sandbox.stage import kernel

ASIDE: Final = ".old"
"""Follows the name of a spare while it is swapped without the kernel's exchange."""
_NO_FLAGS: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""What renameat2(2) fails with where kernel or filesystem have no flags."""


def rename(from_folder: int, source: str, to_folder: int, target: str) -> None:
    """Rename, and never replace anything.

    Raises:
        FileExistsError: When something has the name already.
        FileNotFoundError: When there is no `source`.
    """
    try:
        kernel.renameat2(from_folder, source, to_folder, target, kernel.RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        os.link(source, target, src_dir_fd=from_folder, dst_dir_fd=to_folder, follow_symlinks=False)
        os.unlink(source, dir_fd=from_folder)


def exchange(yard: int, spare: str, folder: int, name: str) -> None:
    """Exchange a spare of the yard with what has a name in a folder, in one step where that can be had.

    Raises:
        FileExistsError: When something else has taken the name meanwhile.
        FileNotFoundError: When nothing has it any more.
    """
    try:
        kernel.renameat2(yard, spare, folder, name, kernel.RENAME_EXCHANGE)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        _exchange_in_three(yard, spare, folder, name)


def bring_back(yard: int, aside: str, folder: int, name: str) -> None:
    """Put what was set aside where it was.

    Raises:
        FileExistsError: When something has taken its name; nothing is touched.
    """
    if name in os.listdir(folder):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    os.rename(aside, name, src_dir_fd=yard, dst_dir_fd=folder)


def _exchange_in_three(yard: int, spare: str, folder: int, name: str) -> None:
    """Exchange where the filesystem cannot: by three renames, the old content kept all the while."""
    aside = spare + ASIDE
    os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=yard)
    try:
        os.rename(spare, name, src_dir_fd=yard, dst_dir_fd=folder)
    except OSError:
        bring_back(yard, aside, folder, name)
        raise
    os.rename(aside, spare, src_dir_fd=yard, dst_dir_fd=yard)
