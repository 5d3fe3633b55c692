"""Copy what the agent may see of a workspace to a folder that belongs to the session's uid."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

from sandbox.stage.beneath import Beneath
from sandbox.stage.errors import PathRefusedError, StageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.stage.base import Seen

COPY_CHUNK_BYTES: Final = 1024 * 1024


def copy_base(workspace: Path, target: Path, entries: Mapping[str, Seen], *, uid: int, gid: int) -> None:
    """Copy `entries` of `workspace` to `target`, owned by uid and gid; the workspace is only read.

    Modes (without setuid, setgid and sticky) and times are kept, hard links become files of their own. A path
    that vanished since the scan is left out.

    Raises:
        StageError: When a file cannot be read, or the copy cannot be written.
    """
    target.mkdir(mode=0o700)
    folders = [path for path, seen in entries.items() if seen.is_folder]
    try:
        with Beneath.open(workspace) as source:
            for path in sorted(folders):
                if path:
                    (target / path).mkdir(mode=0o700)
            for path, seen in entries.items():
                if not seen.is_folder:
                    _copy(source, path, seen, target / path, uid=uid, gid=gid)
        for path in sorted(folders, reverse=True):
            _finish(target / path, entries[path], uid, gid)
    except OSError as error:
        raise _cannot_be_copied(error, error.filename) from error


def _copy(source: Beneath, path: str, seen: Seen, target: Path, *, uid: int, gid: int) -> None:  # noqa: PLR0913 - one caller
    try:
        if seen.is_symlink:
            target.symlink_to(source.readlink(path))
            os.chown(target, uid, gid, follow_symlinks=False)
            return
        with source.file(path) as descriptor, target.open("xb") as out:
            _copy_content(descriptor, out)
    except PathRefusedError as error:
        if source.stat(path) is None:
            return
        raise StageError(f"the workspace cannot be copied: {error.message}") from error
    except OSError as error:  # of a descriptor, which has no name
        raise _cannot_be_copied(error, path) from error
    _finish(target, seen, uid, gid)


def _cannot_be_copied(error: OSError, path: str) -> StageError:
    why = (error.strerror or "unknown").lower()
    return StageError(f"the workspace cannot be copied: {why}: `{path}`")


def _copy_content(source: int, out: BinaryIO) -> None:
    """Copy what a file holds, and leave its holes: one of a petabyte takes no room, and would fill a disk.

    One that somebody shortens meanwhile ends where it was seen to end. A size of 0 says nothing: some
    filesystems make a file's content when it is read.
    """
    size, place = os.fstat(source).st_size, 0
    if size == 0:
        while chunk := os.read(source, COPY_CHUNK_BYTES):
            out.write(chunk)
        return
    while place < size:
        begin, end = _next_piece(source, place, size)
        os.lseek(source, begin, os.SEEK_SET)
        out.seek(begin)
        while begin < end and (chunk := os.read(source, min(COPY_CHUNK_BYTES, end - begin))):
            begin += out.write(chunk)
        place, size = end, size if begin == end else begin
    out.truncate(min(size, os.fstat(source).st_size))


def _next_piece(source: int, place: int, size: int) -> tuple[int, int]:
    """Return where the next bytes that are no hole begin and end, at most at `size`."""
    try:
        begin = os.lseek(source, place, os.SEEK_DATA)
        return min(begin, size), min(os.lseek(source, begin, os.SEEK_HOLE), size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole is left
            return size, size
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # a filesystem that does not tell
            return place, size
        raise


def _finish(target: Path, seen: Seen, uid: int, gid: int) -> None:
    os.chown(target, uid, gid)
    target.chmod(stat.S_IMODE(seen.mode) & 0o777)
    os.utime(target, ns=(seen.mtime_ns, seen.mtime_ns))
