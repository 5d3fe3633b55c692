"""Open paths beneath one folder without following a symlink, whoever is changing the tree meanwhile.

Whatever the stage reads from an untrusted tree or writes to the user's goes through `Beneath`, which knows
nothing of overlays or changes.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final, Self

from sandbox.stage import kernel
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

MAX_PATH_BYTES: Final = 4000
"""Longest path that is opened, in bytes; PATH_MAX is 4096 with the NUL and the folder's own name."""
MAX_DEPTH: Final = 256
"""Deepest nesting that is opened, in folders."""

_RESOLVE: Final = (
    kernel.RESOLVE_BENEATH
    | kernel.RESOLVE_NO_SYMLINKS
    | kernel.RESOLVE_NO_MAGICLINKS
    | kernel.RESOLVE_NO_XDEV
)
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_REFUSALS: Final = {
    errno.ELOOP: "a symlink is in the way",
    errno.EXDEV: "it leaves the folder or lies on another mount",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.ENOENT: "it does not exist",
    errno.EACCES: "its permissions forbid it",
    errno.EPERM: "its permissions forbid it",
    errno.ENXIO: "it is a socket or a pipe",
    errno.ENODEV: "it is a device",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EAGAIN: "the tree changed while it was resolved",
}


def check_relative(path: str) -> None:
    """Refuse a path that is absolute, empty, too long or too deep, or that has `.`, `..` or NUL in it.

    Raises:
        PathRefusedError: When the path breaks one of these rules.
    """
    parts = path.split("/")
    if "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise PathRefusedError(path, "it is not a plain relative path")
    if len(parts) > MAX_DEPTH or len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise PathRefusedError(path[:80] + "…", "it is too long or too deep")


def split(path: str) -> tuple[str, str]:
    """Return a relative path's folder (`""` for the top) and its last name."""
    folder, _, name = path.rpartition("/")
    return folder, name


def parents_of(path: str) -> Iterator[str]:
    """Yield the folders above a relative path, innermost first, without the top."""
    while path := split(path)[0]:
        yield path


@cache
def has_openat2() -> bool:
    """Tell whether this kernel (and any seccomp filter around this process) lets openat2 through."""
    try:
        os.close(kernel.openat2(kernel.AT_CWD, ".", _FOLDER, resolve=_RESOLVE))
    except OSError as error:
        return error.errno not in {errno.ENOSYS, errno.EPERM}
    return True


@dataclass(frozen=True, slots=True)
class Beneath:
    """One open folder, and the only way to reach what is in it. Close it, or use it in `with`."""

    root: int
    """Descriptor of the folder."""
    name: str
    """The folder's path, for messages only."""
    walk: bool = field(default=False, kw_only=True)
    """Resolve part by part even where the kernel has openat2; the two must behave the same."""

    @classmethod
    def open(cls, folder: Path, *, walk: bool = False) -> Self:
        """Open `folder`, whose own last part must not be a symlink.

        Raises:
            PathRefusedError: When it is missing, not a folder, or a symlink.
        """
        try:
            return cls(os.open(folder, _FOLDER), str(folder), walk=walk)
        except OSError as error:
            raise _refused(str(folder), error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.root)

    @contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """Yield a descriptor of the folder at `path`; `""` is the folder itself.

        Raises:
            PathRefusedError: When any part of it is a symlink, a mount, missing or not a folder.
        """
        descriptor = self._open(path, _FOLDER)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def file(self, path: str) -> Iterator[int]:
        """Yield a descriptor, for reading, of the regular file at `path`; never blocks, follows nothing.

        Raises:
            PathRefusedError: When it is anything but a regular file.
        """
        descriptor = self._open(path, _FILE)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PathRefusedError(path, "it is not a regular file")
            yield descriptor
        finally:
            os.close(descriptor)

    def stat(self, path: str) -> os.stat_result | None:
        """Return what is at `path` itself, not what it points to; None when nothing is there.

        Raises:
            PathRefusedError: When a folder on the way is a symlink or a mount.
        """
        if not path:
            return os.fstat(self.root)
        parent, name = split(path)
        try:
            with self.folder(parent) as descriptor:
                return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except PathRefusedError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise

    def readlink(self, path: str) -> str:
        """Return where the symlink at `path` points, without going there.

        Raises:
            PathRefusedError: When there is no symlink at `path`.
        """
        parent, name = split(path)
        with self.folder(parent) as descriptor:
            try:
                return os.readlink(name, dir_fd=descriptor)
            except OSError as error:
                raise _refused(path, error) from error

    def _open(self, path: str, flags: int) -> int:
        if not path:
            return os.open(".", flags, dir_fd=self.root)
        check_relative(path)
        try:
            if self.walk or not has_openat2():
                return self._walk(path, flags)
            # RESOLVE_NO_SYMLINKS alone says ELOOP of a last symlink; O_NOFOLLOW would make that ENOTDIR.
            return kernel.openat2(self.root, path, flags & ~os.O_NOFOLLOW, resolve=_RESOLVE)
        except OSError as error:
            raise _refused(path, error) from error

    def _walk(self, path: str, flags: int) -> int:
        """Open part by part; each step is relative to a descriptor that is already held."""
        *folders, name = path.split("/")
        device = os.fstat(self.root).st_dev
        here = os.dup(self.root)
        try:
            for part in folders:
                step = _step(part, _FOLDER, here)
                os.close(here)
                here = step
                _same_device(here, device, path)
            found = _step(name, flags, here)
        finally:
            os.close(here)
        _same_device(found, device, path, close=True)
        return found


def _step(part: str, flags: int, here: int) -> int:
    """Open one name; a symlink is ELOOP, as openat2 says it, also where the kernel says ENOTDIR."""
    try:
        return os.open(part, flags, dir_fd=here)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), part) from None
        raise


def _same_device(descriptor: int, device: int, path: str, *, close: bool = False) -> None:
    if os.fstat(descriptor).st_dev != device:
        if close:
            os.close(descriptor)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)


def _refused(path: str, error: OSError) -> PathRefusedError:
    reason = _REFUSALS.get(error.errno or 0, (error.strerror or "it cannot be opened").lower())
    return PathRefusedError(path, reason)
