"""List a folder of the workspace, and say until when the list holds."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

AGAIN: Final = -1
"""Stands for the ctime of a folder that is listed again at the next look, whatever its ctime is then."""
_SETTLED_NS: Final = 2_000_000_000
"""A folder changed more recently than this is listed again next time: two changes can share one ctime."""


def listed(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder; each entry has its `lstat` with it, and no call of it fails any more.

    Raises:
        FileNotFoundError: When there is no such folder.
        OSError: When it cannot be listed or looked into (no `x`): nobody knows what it holds.
    """
    with os.scandir(folder) as listing:
        return [entry for entry in listing if _is_there(entry)]


def _is_there(entry: os.DirEntry[str]) -> bool:
    try:
        entry.stat(follow_symlinks=False)  # kept by the entry
    except FileNotFoundError:
        return False
    return True


def settled(ctime_ns: int, *, now_ns: int | None = None) -> int:
    """Return a folder's ctime as what it had when it was listed, or `AGAIN` when that says too little.

    Args:
        ctime_ns: Taken before it was listed, nanoseconds since 1970.
        now_ns: When it was taken, or before; now unless told otherwise.
    """
    then_ns = time.time_ns() if now_ns is None else now_ns
    return ctime_ns if then_ns - ctime_ns > _SETTLED_NS else AGAIN
