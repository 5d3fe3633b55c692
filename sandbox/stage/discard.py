"""Throw a stage away, however the agent left its tree; nothing is followed."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.stage.errors import StageError
from sandbox.stage.layout import StageFolder

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """What became of a stage."""

    leftover: Path | None
    """A folder with files of root's that this user cannot remove: a one-shot container removes it, with
    CAP_DAC_OVERRIDE and this folder alone; None when nothing is left."""
    names: tuple[str, ...]
    """What is left in it."""


def discard(session_folder: Path, *, unfinished: bool = False) -> Discarded:
    """Remove a session's stage with everything in it; safe to call again until nothing is left.

    Args:
        session_folder: The session's folder; its container must be gone, its mount unmounted.
        unfinished: Whether an interrupted apply goes with it: nobody can read the stage, so nobody can finish
            it. What it left in the workspace, in a folder of its own, stays there.

    Raises:
        StageError: When an apply of the session was interrupted: its journal is needed to put things right.
    """
    folder = StageFolder(session_folder.resolve() / "stage")
    stage = folder.path
    if folder.journal.exists() and not unfinished:
        raise StageError("an apply of this session is unfinished", hint="it is finished by `pairlock apply`")
    doomed = stage.with_name("stage.discarded")
    if stage.exists():
        if doomed.exists():
            doomed = doomed.with_name(f"{doomed.name}-{secrets.token_hex(4)}")
        stage.rename(doomed)
    left = {path: remove_tree(path) for path in session_folder.resolve().glob("stage.discarded*")}
    for path, names in left.items():
        if names:
            return Discarded(leftover=path, names=names)
    return Discarded(leftover=None, names=())


def remove_tree(folder: Path) -> tuple[str, ...]:
    """Remove a folder with all it holds, of any depth and any modes, and return what could not be removed.

    Folders found inside are first moved to the top, so that no path gets long and nothing recurses.
    """
    try:
        descriptor = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return ()
    try:
        left = _empty(descriptor)
    finally:
        os.close(descriptor)
    if not left:
        folder.rmdir()
    return left


def _empty(top: int) -> tuple[str, ...]:
    """Empty the folder `top`; return the names in it that would not go."""
    stuck: set[str] = set()
    while names := set(os.listdir(top)) - stuck:
        for name in names:
            if not _remove_one(top, name):
                stuck.add(name)
    return tuple(sorted(stuck))


def _remove_one(top: int, name: str) -> bool:
    """Remove one name of the top folder; what a folder in it holds is moved to the top first."""
    if _remove_simply(top, name):
        return True
    try:
        _flatten(top, name)
        os.rmdir(name, dir_fd=top)
    except OSError:
        return False
    return True


def _flatten(top: int, name: str) -> None:
    inner = _open_anyhow(top, name)
    try:
        for child in os.listdir(inner):  # noqa: PTH208 - a descriptor has no Path
            if not _remove_simply(inner, child):
                _may_be_moved(inner, child)
                os.rename(child, secrets.token_hex(16), src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)


def _remove_simply(folder: int, name: str) -> bool:
    """Remove a file or an empty folder, also one of root's, as the kernel's work folder leaves it."""
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
        return True
    with suppress(OSError):
        os.rmdir(name, dir_fd=folder)
        return True
    return False


def _may_be_moved(inner: int, child: str) -> None:
    """Open up a folder whose mode forbids its own move (a move rewrites its `..`)."""
    with suppress(OSError):
        os.close(_open_anyhow(inner, child))


def _open_anyhow(parent: int, name: str) -> int:
    """Open a folder, first giving its owner every permission, by descriptor, not by name."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 - the descriptor itself, not a path
        return os.open(".", _FOLDER, dir_fd=handle)
    finally:
        os.close(handle)
