"""Say what one lstat saw of a path, and keep what is learnt of the workspace as it was at the start."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, NamedTuple

from sandbox.stage.errors import StageBrokenError
from sandbox.stage.layout import write_private

if TYPE_CHECKING:
    import os
    from pathlib import Path


class Seen(NamedTuple):
    """What one lstat said of a path; a tuple because there can be 100,000 of them."""

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
    def is_known(self) -> bool:
        """Tell whether it was seen, and does not stand for what nobody saw (`record.unknown`)."""
        return self.ctime_ns != 0

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


class Learnt(NamedTuple):
    """What was learnt of the workspace as it was when the session started."""

    hashes: dict[str, str]
    """SHA-256 of files' content, hexadecimal, by path."""
    facts: dict[str, Seen]
    """What one lstat said, by path."""


def save_learnt(target: Path, learnt: Learnt) -> None:
    """Write what is known of the workspace's own content."""
    write_private(target, json.dumps(learnt._asdict()).encode())


def load_learnt(source: Path) -> Learnt:
    """Read it back; nothing when nothing was written yet.

    Raises:
        StageBrokenError: When the file is damaged.
    """
    try:
        told = json.loads(source.read_bytes())
        hashes = {str(path): str(digest) for path, digest in told["hashes"].items()}
        return Learnt(hashes, {str(path): Seen(*map(int, seen)) for path, seen in told["facts"].items()})
    except FileNotFoundError:
        return Learnt({}, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageBrokenError(f"the stage's hashes `{source}` cannot be read: {error}") from error
