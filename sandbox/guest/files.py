"""Do the file operations that take one path: read, stat, move, remove. They run in a worker."""

from __future__ import annotations

import errno
import os
import stat

from . import linux
from .arguments import Arguments
from .beneath import Beneath, kind_of, require_file, shown
from .digest import Digest
from .refusal import RefusedError, from_os_error
from .task import CHUNK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object
    from .task import Task

MAX_READ_BYTES = 1 << 40
DEFAULT_READ_BYTES = 1 << 20
MAX_DEPTH = 256

_READ = frozenset({"path", "path_base64", "offset", "limit_bytes", "timeout_seconds"})
_PATH = frozenset({"path", "path_base64", "timeout_seconds"})
_MOVE = frozenset({"path", "path_base64", "to", "to_base64", "replace", "create_parents", "timeout_seconds"})
_REMOVE = frozenset({"path", "path_base64", "recursive", "timeout_seconds"})


def read(task: Task, beneath: Beneath) -> Object:
    """Send up to `limit_bytes` from `offset`; the hash is of the bytes that were sent."""
    arguments = Arguments(task.values, _READ)
    path = arguments.path()
    offset = arguments.number("offset", default=0, most=MAX_READ_BYTES)
    left = arguments.number("limit_bytes", default=DEFAULT_READ_BYTES, most=MAX_READ_BYTES)
    descriptor = open_file(beneath, path)
    try:
        total = os.fstat(descriptor).st_size
        digest = Digest()
        sent = 0
        while left:
            data = os.pread(descriptor, min(left, CHUNK_BYTES), offset + sent)
            if not data:
                break
            digest.update(data)
            task.send_body(data)
            sent += len(data)
            left -= len(data)
    except OSError as error:
        raise from_os_error(error, shown(path)) from error
    finally:
        os.close(descriptor)
    return {"bytes": sent, "total_bytes": total, "sha256": digest.hexdigest()}


def open_file(beneath: Beneath, path: bytes) -> int:
    """Open a regular file to read. It is looked at before, so that no device is opened, and after."""
    looked_at = beneath.open(path, os.O_PATH)
    try:
        require_file(looked_at, path)
    finally:
        os.close(looked_at)
    descriptor = beneath.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        require_file(descriptor, path)
    except RefusedError:
        os.close(descriptor)
        raise
    return descriptor


def status(task: Task, beneath: Beneath) -> Object:
    """Describe the entry itself: a symlink is not followed at its last name."""
    path = Arguments(task.values, _PATH).path()
    descriptor = beneath.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return describe(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def describe(facts: os.stat_result) -> Object:
    """Return the facts that the host is told of an entry."""
    return {
        "kind": kind_of(facts.st_mode),
        "bytes": facts.st_size,
        "mode": stat.S_IMODE(facts.st_mode),
        "modified": facts.st_mtime,
    }


def move(task: Task, beneath: Beneath) -> Object:
    """Rename an entry; a name that is taken is refused unless `replace` says otherwise."""
    arguments = Arguments(task.values, _MOVE)
    source_path, target_path = arguments.path(), arguments.path("to")
    source = beneath.parent(source_path)
    try:
        if not beneath.follows:
            _require_movable(source, source_path)
        if arguments.flag("create_parents"):
            make_parents(beneath, target_path)
        target = beneath.parent(target_path)
        try:
            _rename(source, target, replace=arguments.flag("replace"))
        finally:
            os.close(target[0])
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        raise from_os_error(error, shown(source_path if missing else target_path)) from error
    finally:
        os.close(source[0])
    return {}


def _require_movable(source: tuple[int, bytes], path: bytes) -> None:
    """Refuse what is no file: what is in a folder, or behind a symlink, would get names nobody decided on."""
    mode = os.lstat(source[1], dir_fd=source[0]).st_mode
    kind = {"link": "symlink", "special": "special file"}.get(kind_of(mode), kind_of(mode))
    if kind != "file":
        code = {"folder": "is-folder", "symlink": "path"}.get(kind, "special")
        raise RefusedError(code, f"`{shown(path)}` is a {kind}; at once, files are moved one by one")


def _rename(source: tuple[int, bytes], target: tuple[int, bytes], *, replace: bool) -> None:
    if replace:
        os.rename(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])
        return
    try:
        linux.rename_without_replacing(source, target)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
        # A file system (or gVisor) without RENAME_NOREPLACE: look first; a race can then replace.
        if _exists(target):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])


def _exists(place: tuple[int, bytes]) -> bool:
    try:
        os.stat(place[1], dir_fd=place[0], follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def make_parents(beneath: Beneath, path: bytes) -> None:
    """Make the folders above `path` that do not exist, one name at a time."""
    names = [name for name in path.split(b"/")[:-1] if name not in (b"", b".")]
    for depth, last in enumerate(names, start=1):
        if last == b"..":
            continue
        folder, name = beneath.parent(b"/".join(names[:depth]))
        try:
            os.mkdir(name, 0o777, dir_fd=folder)
        except FileExistsError:
            pass
        except OSError as error:
            raise from_os_error(error, shown(path)) from error
        finally:
            os.close(folder)


def remove(task: Task, beneath: Beneath) -> Object:
    """Remove an entry; a full folder with `recursive` only. Of a symlink only itself is removed."""
    arguments = Arguments(task.values, _REMOVE)
    path = arguments.path()
    folder, name = beneath.parent(path)
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(facts.st_mode):
            os.unlink(name, dir_fd=folder)
            return {"removed": 1}
        if not arguments.flag("recursive"):
            os.rmdir(name, dir_fd=folder)
            return {"removed": 1}
        if not beneath.follows:
            return _remove_empty(folder, name, path)
        return {"removed": _remove_folder(folder, name, 0)}
    except OSError as error:
        raise from_os_error(error, shown(path)) from error
    finally:
        os.close(folder)


def _remove_empty(folder: int, name: bytes, path: bytes) -> Object:
    """Remove an empty folder; of what is in a full one nobody decided whether it may go."""
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise RefusedError(
            "not-empty", f"`{shown(path)}` is not empty; at once, files are removed one by one"
        ) from error
    return {"removed": 1}


def _remove_folder(parent: int, name: bytes, depth: int) -> int:
    """Remove a folder and what is in it, by descriptors: a swapped symlink is never entered (B04)."""
    if depth >= MAX_DEPTH:
        raise RefusedError("limit", f"more than `{MAX_DEPTH}` folders inside each other")
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    removed = 0
    try:
        for entry in [item.name for item in os.scandir(folder)]:
            raw = os.fsencode(entry)
            facts = os.stat(raw, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode):
                removed += _remove_folder(folder, raw, depth + 1)
            else:
                os.unlink(raw, dir_fd=folder)
                removed += 1
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)
    return removed + 1
