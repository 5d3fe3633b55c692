"""Write a file: into a new one beside it, renamed over it: a reader sees the old or the new, never half.

An existing file keeps its mode. Its other hard links keep the old content: a write changes the name that the
action named, and no other. A symlink at the last name is followed if it stays beneath, and stays a symlink.
Where the folder cannot be written but the file can, the file is written in place.
"""

from __future__ import annotations

import errno
import os

from .arguments import Arguments
from .beneath import Beneath, require_file, shown
from .digest import Digest
from .files import make_parents
from .refusal import RefusedError, from_os_error
from .task import CHUNK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object
    from .task import Task

TEMPORARY_PREFIX = b".pairlock-"
_ARGUMENTS = frozenset(
    {
        "path",
        "path_base64",
        "create_parents",
        "mode",
        "must_create",
        "limit_bytes",
        "timeout_seconds",
    }
)
_MAX_LINKS = 40
_MAX_WRITE_BYTES = 1 << 40
_DEFAULT_MODE = 0o644
_IN_PLACE = (errno.EACCES, errno.EPERM)


def write(task: Task, beneath: Beneath, *, in_place: bool = True) -> Object:
    """Write the request's body to a path; the body is taken to its end before the old content is touched.

    Args:
        task: whose body.
        beneath: where.
        in_place: whether the file may be written over where only it can be written, not its folder.
    """
    arguments = Arguments(task.values, _ARGUMENTS)
    path = arguments.path()
    mode = arguments.number("mode", default=_DEFAULT_MODE, most=0o777)
    if arguments.flag("create_parents"):
        make_parents(beneath, path)
    folder, name = _settle(beneath, path)
    try:
        before = _describe_old(folder, name, path)
        if before is not None and arguments.flag("must_create"):
            raise RefusedError("exists", f"`{shown(path)}` exists")
        # In place, the new content would have every other name of the file as well.
        sink = _Sink(task, arguments, in_place=in_place and (before is None or before.names == 1))
        sink.put(folder, name, mode=before.mode if before else mode, exists=before is not None)
    except OSError as error:
        raise from_os_error(error, shown(path)) from error
    finally:
        os.close(folder)
    return {
        "bytes": sink.bytes,
        "created": before is None,
        "sha256_before": before.sha256 if before else None,
        "sha256_after": sink.sha256,
    }


class _Old:
    """The file that was there."""

    def __init__(self, mode: int, names: int, sha256_hex: str) -> None:
        self.mode = mode
        self.names = names
        self.sha256 = sha256_hex


class _Sink:
    """Takes the body and puts it into a descriptor, hashing and counting."""

    def __init__(self, task: Task, arguments: Arguments, *, in_place: bool) -> None:
        self._task = task
        self._in_place = in_place
        self._most = arguments.number("limit_bytes", default=_MAX_WRITE_BYTES, most=_MAX_WRITE_BYTES)
        self._digest = Digest()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Return the hash of what was written."""
        return self._digest.hexdigest()

    def fill(self, descriptor: int) -> None:
        """Write the whole body."""
        while data := self._task.receive_body():
            self.bytes += len(data)
            if self.bytes > self._most:
                raise RefusedError("limit", f"content is longer than `{self._most}` bytes")
            self._digest.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

    def put(self, folder: int, name: bytes, *, mode: int, exists: bool) -> None:
        """Write the body to `name`: by a temporary file, or in place where only the file can be written."""
        temporary = TEMPORARY_PREFIX + os.urandom(8).hex().encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
        except OSError as error:
            if not exists or not self._in_place or error.errno not in _IN_PLACE:
                raise
            self._overwrite(folder, name)
            return
        try:
            self.fill(descriptor)
            os.fchmod(descriptor, mode)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)

    def _overwrite(self, folder: int, name: bytes) -> None:
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
        try:
            require_file(descriptor, name)
            self.fill(descriptor)
            os.ftruncate(descriptor, self.bytes)
        finally:
            os.close(descriptor)


def _settle(beneath: Beneath, path: bytes) -> tuple[int, bytes]:
    """Follow symlinks at the last name, each resolved beneath the root, until a name that is none."""
    for _ in range(_MAX_LINKS):
        folder, name = beneath.parent(path)
        try:
            target = os.readlink(name, dir_fd=folder)
        except OSError:
            return folder, name  # not a link, or not there: both are what is looked for
        os.close(folder)
        if not beneath.follows:
            raise RefusedError("path", f"`{shown(path)}` is a symlink; name the place that it leads to")
        head, _, _ = path.rstrip(b"/").rpartition(b"/")
        path = target if target.startswith(b"/") or not head else head + b"/" + target
    raise RefusedError("path", f"`{shown(path)}` is a chain of more than {_MAX_LINKS} symlinks")


def _describe_old(folder: int, name: bytes, path: bytes) -> _Old | None:
    """Return the mode and hash of the regular file that is there, None when nothing is."""
    try:
        looked_at = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        facts = require_file(looked_at, path)
    finally:
        os.close(looked_at)
    return _Old(facts.st_mode & 0o777, facts.st_nlink, _hash(folder, name, path))


def _hash(folder: int, name: bytes, path: bytes) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        require_file(descriptor, path)
        digest = Digest()
        while data := os.read(descriptor, CHUNK_BYTES):
            digest.update(data)
    finally:
        os.close(descriptor)
    return digest.hexdigest()
