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


class RecordLines:
    """A record in the making: one line for each path, packed as it comes and not kept as an object."""

    def __init__(self) -> None:
        self._packing = zlib.compressobj(level=1)
        self._packed = bytearray()
        self.count = 0

    def add(self, lines: list[str]) -> None:
        """Add lines as `facts_of` begins them, each with a space and its path at the end."""
        if lines:
            between = "\0" if self.count else ""
            self._packed += self._packing.compress(os.fsencode(between + "\0".join(lines)))
            self.count += len(lines)

    def packed(self) -> bytes:
        """Return the whole record; nothing can be added after."""
        return bytes(self._packed + self._packing.flush())


def facts_of(status: os.stat_result) -> str:
    """Return a line of a record, all but its path."""
    return f"{status.st_mode:o} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def packed_record(entries: Mapping[str, Seen]) -> bytes:
    """Return a record of these paths; they are kept byte for byte."""
    lines = RecordLines()
    lines.add([f"{m:o} {s} {t} {c} {i} {path}" for path, (m, s, t, c, i) in entries.items()])
    return lines.packed()


def unpacked_record(packed: bytes) -> dict[str, Seen]:
    """Return the paths of a record.

    Raises:
        zlib.error: When it is damaged.
        ValueError: The same.
    """
    text = os.fsdecode(zlib.decompress(packed))
    return dict(map(_entry, text.split("\0") if text else ()))


def save_record(target: Path, packed: bytes) -> None:
    """Write a record."""
    write_private(target, _HEADER + packed)


def load_record(source: Path) -> dict[str, Seen]:
    """Read a record back.

    Raises:
        StageBrokenError: When it is missing or is not what `save_record` wrote.
    """
    try:
        content = source.read_bytes()
        if not content.startswith(_HEADER):
            raise StageBrokenError(f"`{source}` is not a stage's record")
        return unpacked_record(content[len(_HEADER) :])
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
