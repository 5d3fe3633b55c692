"""Keep what the workspace held when a session started: one line a path, from the scan before the start."""

from __future__ import annotations

import json
import os
import stat
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from sandbox.stage.errors import StageBrokenError
from sandbox.stage.layout import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDER_TYPE: Final = "4"
"""First digit of a folder's mode (`S_IFDIR` is 0o040000); no other type that is recorded begins so."""
_HEADER: Final = b"pairlock-record 1\n"


class Seen(NamedTuple):
    """What one lstat said of a path; a tuple because there are 100,000 of them."""

    mode: int
    """`st_mode`: type and permission bits."""
    size: int
    """Bytes; for a symlink the length of its target."""
    mtime_ns: int
    """Last change of the content, nanoseconds since 1970."""
    ctime_ns: int
    """Last change of content or attributes, nanoseconds since 1970."""
    inode: int
    """`st_ino`."""

    @classmethod
    def of(cls, status: os.stat_result) -> Seen:
        """Take what the record keeps from a stat result."""
        return cls(status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    @property
    def is_folder(self) -> bool:
        """Tell whether it is a folder."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Tell whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        """Tell whether it is a symlink."""
        return stat.S_ISLNK(self.mode)

    @property
    def permissions(self) -> int:
        """Return the permission bits, setuid, setgid and sticky included."""
        return stat.S_IMODE(self.mode)


type_bits = stat.S_IFMT


def untouched(before: Seen, now: Seen) -> bool:
    """Tell whether a path is what it was: for a folder only its type, since its times follow its entries."""
    if before.is_folder:
        return now.is_folder
    return before == now


def save_record(target: Path, entries: Mapping[str, Seen]) -> None:
    """Write the record, compressed; paths are kept byte for byte."""
    lines = (f"{m:o} {s} {t} {c} {i} {path}" for path, (m, s, t, c, i) in entries.items())
    body = os.fsencode("\0".join(lines))
    write_private(target, _HEADER + zlib.compress(body, level=1))


def load_record(source: Path) -> dict[str, Seen]:
    """Read a record back.

    Raises:
        StageBrokenError: When it is missing or is not what `save_record` wrote.
    """
    return _loaded(source, only="")


def load_folders(source: Path) -> dict[str, Seen]:
    """Read back only the folders of a record, in a fraction of the time.

    Raises:
        StageBrokenError: As in `load_record`.
    """
    return _loaded(source, only=_FOLDER_TYPE)


def _loaded(source: Path, *, only: str) -> dict[str, Seen]:
    """Read the lines that begin with `only`: the mode stands first, octal, and its type first of all."""
    try:
        content = source.read_bytes()
        if not content.startswith(_HEADER):
            raise StageBrokenError(f"`{source}` is not a stage's record")
        text = os.fsdecode(zlib.decompress(content[len(_HEADER) :]))
        lines = text.split("\0") if text else []
        return dict(_entry(line) for line in lines if line.startswith(only))
    except (OSError, zlib.error, ValueError) as error:
        raise StageBrokenError(f"the stage's record `{source}` cannot be read: {error}") from error


def _entry(line: str) -> tuple[str, Seen]:
    mode, size, mtime, ctime, inode, path = line.split(" ", 5)
    return path, Seen(int(mode, 8), int(size), int(mtime), int(ctime), int(inode))


def save_hashes(target: Path, hashes: Mapping[str, str]) -> None:
    """Write the known SHA-256 digests (hexadecimal) of the workspace's own content, by path."""
    write_private(target, json.dumps(dict(hashes)).encode())


def load_hashes(source: Path) -> dict[str, str]:
    """Read the known digests; none when none were written yet.

    Raises:
        StageBrokenError: When the file is damaged.
    """
    try:
        content = json.loads(source.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StageBrokenError(f"the stage's hashes `{source}` cannot be read: {error}") from error
    return {str(path): str(digest) for path, digest in dict(content).items()}
