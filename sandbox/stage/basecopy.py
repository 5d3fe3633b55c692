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
        raise StageError(f"the workspace cannot be copied: {error.strerror}: `{error.filename}`") from error


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
    _finish(target, seen, uid, gid)


def _copy_content(source: int, out: BinaryIO) -> None:
    """Copy what a file holds, and leave its holes: one of a petabyte takes no room, and would fill a disk."""
    size, place = os.fstat(source).st_size, 0
    while place < size:
        try:
            begin = os.lseek(source, place, os.SEEK_DATA)
            place = min(os.lseek(source, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        os.lseek(source, begin, os.SEEK_SET)
        out.seek(begin)
        while begin < place and (chunk := os.read(source, min(COPY_CHUNK_BYTES, place - begin))):
            begin += out.write(chunk)
        if begin < place:
            break  # somebody shortens it meanwhile
    out.truncate(size)


def _finish(target: Path, seen: Seen, uid: int, gid: int) -> None:
    os.chown(target, uid, gid)
    target.chmod(stat.S_IMODE(seen.mode) & 0o777)
    os.utime(target, ns=(seen.mtime_ns, seen.mtime_ns))
