"""Open paths beneath one folder and nowhere else: by openat2, or by a careful walk where it is missing.

A symlink is followed as long as it stays beneath; one that leaves, an absolute one and a magic link are
refused with the code `path`. What was opened stays what it is: every later step works on descriptors, not on
the path again.
"""

from __future__ import annotations

import errno
import os
import stat

from . import linux
from .refusal import RefusedError, from_os_error

MAX_PATH_BYTES = 4096
_MAX_LINKS = 40
_RACES = 16
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Beneath:
    """One root folder, opened once.

    Args:
        root: its path, trusted: it comes from the command line.

    Raises:
        OSError: when it is no folder.
    """

    def __init__(self, root: str) -> None:
        self.root = os.open(root, _FOLDER)
        self._walks = not _kernel_resolves(self.root)
        self.follows = True

    def straight(self) -> Beneath:
        """Return the same folder, in which no path leads through a symlink."""
        same = Beneath.__new__(Beneath)
        same.__dict__.update(self.__dict__, follows=False)
        return same

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """Open `path`; the caller closes it.

        Args:
            path: relative to the root.
            flags: as for open(2); O_CLOEXEC is added.
            mode: of a file that is created.

        Raises:
            RefusedError: code `path` when it leaves the root, or the kernel's reason.
        """
        check_path(path)
        try:
            if self._walks:
                return _Walk(self.root, follows=self.follows).open(path, flags, mode)
            return self._openat2(path, flags, mode)
        except OSError as error:
            if error.errno == errno.ELOOP and not self.follows:
                raise RefusedError(
                    "path", f"`{shown(path)}` leads through a symlink; name the place that it leads to"
                ) from error
            raise from_os_error(error, shown(path)) from error

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """Open the folder that holds `path`; return it with the last name, which may be missing or a symlink.

        Raises:
            RefusedError: code `path` when the last part is no name, as in `a/..`.
        """
        check_path(path)
        folder, _, name = path.rstrip(b"/").rpartition(b"/")
        if name in (b"", b".", b".."):
            raise RefusedError("path", f"`{shown(path)}` names no entry of a folder")
        return self.open(folder or b".", _FOLDER), name

    def _openat2(self, path: bytes, flags: int, mode: int) -> int:
        for _ in range(_RACES):
            try:
                return linux.openat2(self.root, path, flags, mode, follows=self.follows)
            except OSError as error:
                # The kernel could not tell whether a concurrent rename had led it outside (openat2(2)).
                if error.errno != errno.EAGAIN:
                    raise
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def check_path(path: bytes) -> None:
    """Refuse what can be no path beneath a folder.

    Raises:
        RefusedError: code `path`.
    """
    if not path or b"\0" in path or len(path) > MAX_PATH_BYTES:
        raise RefusedError(
            "path", f"path of `{len(path)}` bytes; expected 1 to {MAX_PATH_BYTES}, without NUL"
        )
    if path.startswith(b"/"):
        raise RefusedError(
            "path", f"`{shown(path)}` is absolute; expected a path relative to the shared folder"
        )


def shown(path: bytes) -> str:
    """Return a path for a message: short, on one line, without control characters."""
    text = path[:200].decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def kind_of(mode: int) -> str:
    """Return the word for a file's type: `file`, `folder`, `link` or `special`."""
    match stat.S_IFMT(mode):
        case stat.S_IFREG:
            return "file"
        case stat.S_IFDIR:
            return "folder"
        case stat.S_IFLNK:
            return "link"
        case _:
            return "special"


def require_file(descriptor: int, path: bytes) -> os.stat_result:
    """Return the facts of an open regular file.

    Raises:
        RefusedError: code `is-folder`, or `special` for a FIFO, socket or device, which might block for ever
        (B17).
    """
    facts = os.fstat(descriptor)
    kind = kind_of(facts.st_mode)
    if kind == "folder":
        raise RefusedError("is-folder", f"`{shown(path)}` is a folder; expected a file")
    if kind != "file":
        raise RefusedError("special", f"`{shown(path)}` is a FIFO, socket or device; expected a file")
    return facts


def _kernel_resolves(root: int) -> bool:
    """Ask once. Old kernels say ENOSYS, old seccomp profiles EPERM, and gVisor before 2023 ENOSYS."""
    try:
        os.close(linux.openat2(root, b".", _FOLDER, 0))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            return False
        raise
    return True


class _Walk:
    """Resolve one path by hand, a name at a time, never following a link that was not read first.

    INVARIANT: `_folders` are descriptors that were each opened by one name from the one before, the first
    being the root; `..` goes back to a descriptor that is already held, so a concurrent rename cannot lead
    out.
    """

    def __init__(self, root: int, *, follows: bool) -> None:
        self._folders = [root]
        self._most_links = _MAX_LINKS if follows else 0
        self._names: list[bytes] = []
        self._links = 0

    def open(self, path: bytes, flags: int, mode: int) -> int:
        self._names = _reversed_names(path)
        try:
            return self._go(flags | os.O_CLOEXEC, mode)
        finally:
            for folder in self._folders[1:]:
                os.close(folder)

    def _go(self, flags: int, mode: int) -> int:
        while self._names:
            name = self._names.pop()
            if name == b"..":
                self._up()
            elif self._names:
                self._into(name)
            else:
                found = self._last(name, flags, mode)
                if found is not None:
                    return found
        return os.open(b".", flags, mode, dir_fd=self._folders[-1])

    def _up(self) -> None:
        if len(self._folders) == 1:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        os.close(self._folders.pop())

    def _into(self, name: bytes) -> None:
        entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folders[-1])
        kind = kind_of(os.fstat(entry).st_mode)
        if kind == "folder":
            self._folders.append(entry)
            return
        os.close(entry)
        if kind != "link":
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._follow(name)

    def _last(self, name: bytes, flags: int, mode: int) -> int | None:
        """Open the last name, or return None when it was a link and the walk goes on."""
        folder = self._folders[-1]
        if not flags & os.O_NOFOLLOW and _is_link(folder, name):
            self._follow(name)
            return None
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=folder)

    def _follow(self, name: bytes) -> None:
        self._links += 1
        target = os.readlink(name, dir_fd=self._folders[-1])
        if self._links > self._most_links:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        self._names += _reversed_names(target)


def _reversed_names(path: bytes) -> list[bytes]:
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    return names[::-1]


def _is_link(folder: int, name: bytes) -> bool:
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISLNK(facts.st_mode)
