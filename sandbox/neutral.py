"""Give folders of this machine short, neutral names for a mount, for a container reads what it is made of.

`/proc/self/mountinfo` shows an overlay's layers as they were written in its options: a home folder's path, a
user's name, a project's. So the options name links instead, in a private folder with a random name. That name
is also the proof that the engine's paths are this machine's: nowhere else does it exist.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

STALE_SECONDS: Final = 3600.0
"""Age at which the links of a runner that was killed are removed; a mount takes less than a second."""


class NeutralNames:
    """Links to folders, until the mount is made.

    Args:
        folder: A folder of this object's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named: dict[Path, Path] = {}

    @classmethod
    def make(cls, environment: Mapping[str, str] = os.environ) -> NeutralNames:
        """Make the folder, in the user's runtime folder or else in one of our own below /tmp.

        Raises:
            SandboxError: When somebody else owns what should be ours.
        """
        above = _private(_runtime_folder(environment))
        _sweep(above)
        folder = above / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        return cls(folder)

    def name(self, path: Path) -> Path:
        """Return a link to a folder; the same one each time."""
        if path not in self._named:
            link = self._folder / f"{len(self._named)}"
            link.symlink_to(path, target_is_directory=True)
            self._named[path] = link
        return self._named[path]

    def remove(self) -> None:
        """Remove the links; a mount that was made through them stays."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _runtime_folder(environment: Mapping[str, str]) -> Path:
    given = environment.get("XDG_RUNTIME_DIR", "")
    if (
        given.startswith("/")
        and Path(given).is_dir()
        and given.isprintable()
        and not set(given) & set(",:\\\"'")
    ):
        return Path(given) / "pairlock-mounts"
    return Path("/tmp") / f"pairlock-{os.getuid()}"  # noqa: S108 - 0700, and its owner is checked


def _private(folder: Path) -> Path:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SandboxError(
            f"`{folder}` is not a private folder of this user", hint="remove it, or set XDG_RUNTIME_DIR"
        )
    return folder


def _sweep(above: Path) -> None:
    """Remove what runners that were killed left."""
    for folder in above.iterdir():
        with suppress(OSError):  # somebody else sweeps too
            if time.time() - folder.lstat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder)
