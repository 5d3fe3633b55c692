"""Choose the folder for what lives as long as a runner: its socket, and the names of its mounts."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_SOCKET_PATH: Final = 107
"""Bytes of `sun_path` without its NUL (unix(7))."""
_BELOW_IT: Final = len("/pairlock/0123456789ab")
"""What a session's socket adds to the folder's path."""
_MEANT_IN_OPTIONS: Final = frozenset(",:\\\"'")


def runtime_folder(name: str, environment: Mapping[str, str]) -> Path:
    """Return where a folder of this user's belongs; it may not be there yet, or be somebody else's.

    `XDG_RUNTIME_DIR` is taken only where it serves: after `su`, in a container or in a job of CI it often
    names a folder that is another user's, or gone.

    Args:
        name: What the folder is called in the user's runtime folder.
        environment: The process's.
    """
    given = environment.get("XDG_RUNTIME_DIR", "")
    return Path(given) / name if _serves(given) else Path("/tmp") / f"pairlock-{os.getuid()}"  # noqa: S108 - 0700, and its owner is checked


def _serves(given: str) -> bool:
    """Tell whether a folder is this user's, can be written, and may stand in a mount and in an address."""
    if not given.startswith("/") or not given.isprintable() or _MEANT_IN_OPTIONS & set(given):
        return False
    if len(os.fsencode(given)) + _BELOW_IT > _LONGEST_SOCKET_PATH:
        return False
    try:
        status = Path(given).stat()
    except OSError:
        return False
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return is_ours and os.access(given, os.R_OK | os.W_OK | os.X_OK)


def made_private(folder: Path) -> Path:
    """Make a folder that is this user's alone, and return it.

    Raises:
        SandboxError: When it cannot be made, or something else stands there.
    """
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise SandboxError(f"`{folder}` cannot be made: {why}", hint="set XDG_RUNTIME_DIR") from error
    require_private(folder)
    return folder


def require_private(folder: Path) -> None:
    """See to it that a folder is this user's alone.

    Raises:
        SandboxError: When it is not there, no folder, somebody else's, or open to others.
    """
    try:
        status = folder.lstat()
    except OSError as error:
        raise _not_private(folder) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise _not_private(folder)


def _not_private(folder: Path) -> SandboxError:
    return SandboxError(
        f"`{folder}` is not a private folder of this user", hint="remove it, or set XDG_RUNTIME_DIR"
    )
