"""Write down what a session started on: the names of 100,000 files, and of each file only what must be known.

See `record` for how the rest is learnt later, and `can_tell_later` for where it can be.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sandbox.stage import kernel
from sandbox.stage.base import Seen
from sandbox.stage.beneath import split
from sandbox.stage.errors import StageBrokenError
from sandbox.stage.layout import write_private
from sandbox.stage.moment import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_HEADER: Final = b"pairlock-record 2\n"
_BTRFS: Final = 0x9123683E
_SUBVOLUME_INODE: Final = 256
"""Of each btrfs subvolume's top folder (BTRFS_FIRST_FREE_OBJECTID, linux/btrfs_tree.h)."""
_STAMPED_BY_THE_KERNEL: Final = frozenset({0xEF53, 0x58465342, _BTRFS, 0x01021994})
"""ext2 to ext4, xfs, btrfs, tmpfs (linux/magic.h): on each, a rename and a link are changes of ctime too."""
_NOT_ITSELF: Final = Seen(0, 0, 0, 0, 0)
"""Stands for a folder of which only what it holds is meant."""
PAGE_BYTES: Final = 4096
"""The unit in which a memory file system holds files, on most machines."""
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was written down when a session started."""

    moment: Moment
    """When its walk through the workspace began."""
    folders: dict[str, Seen]
    """Each folder that the session may see, and what it was; the workspace itself is `""`."""
    names: dict[str, frozenset[str]]
    """What else it may see in each of them: files and symlinks."""
    known: dict[str, Seen]
    """What is known of a path, whatever else stands here: all of them where files cannot tell later."""

    def __len__(self) -> int:
        """Return how many paths there are, the workspace itself among them."""
        named = sum(map(len, self.names.values()))
        twice = sum(name in self.names.get(folder, ()) for folder, name in map(split, self.known))
        return named - twice + len(self.folders.keys() | self.known.keys())

    def paths(self) -> Iterator[str]:
        """Yield every path, each once."""
        for folder, names in self.names.items():
            for name in names:
                if (path := _below(folder, name)) not in self.known:
                    yield path
        yield from self.folders.keys() - self.known.keys()
        yield from self.known

    def asked(self, root: Path) -> Start:
        """Return the same with every path asked now, as copies need it; one that is gone is left out."""
        unasked = (path for path in self.paths() if path not in self.known and path not in self.folders)
        known = {**self.folders, **facts_now(root, unasked), **self.known}
        return Start(moment=self.moment, folders={}, names={}, known=known)

    def with_base(self, paths: frozenset[str], before: Mapping[str, Seen]) -> Start:
        """Return the same, but with what was there of some paths before, and nothing else of them."""
        return Start(
            moment=self.moment,
            folders={path: seen for path, seen in self.folders.items() if path not in paths}
            | {
                path: self.folders.get(path, seen)._replace(mode=seen.mode)
                for path, seen in before.items()
                if seen.is_folder
            },
            names={
                folder: frozenset(name for name in names if _below(folder, name) not in paths)
                for folder, names in self.names.items()
            },
            known={path: seen for path, seen in self.known.items() if path not in paths}
            | {path: seen for path, seen in before.items() if not seen.is_folder},
        )

    @property
    def content_bytes(self) -> int:
        """Return what the files that were asked take in a memory file system, bytes: whole pages."""
        sizes = (seen.size for seen in self.known.values() if not seen.is_folder)
        return sum(-(-size // PAGE_BYTES) for size in sizes) * PAGE_BYTES

    def packed(self) -> bytes:
        """Return all of it as bytes; names are kept byte for byte."""
        chunks = [json.dumps(asdict(self.moment))]
        for path in self.folders.keys() | self.names.keys():
            seen = self.folders.get(path, _NOT_ITSELF)
            chunks += [f"{_facts(seen)} {path}", "/".join(self.names.get(path, ()))]
        chunks.append("")
        chunks += [f"{_facts(seen)} {path}" for path, seen in self.known.items()]
        return zlib.compress(os.fsencode("\0".join(chunks)), level=1)

    @classmethod
    def unpacked(cls, packed: bytes) -> Start:
        """Return what was packed.

        Raises:
            zlib.error: When it is damaged.
            ValueError: The same.
            TypeError: The same.
        """
        chunks = iter(os.fsdecode(zlib.decompress(packed)).split("\0"))
        moment = Moment(**json.loads(next(chunks)))
        folders, names = {}, {}
        while line := next(chunks, ""):
            path, seen = _entry(line)
            names[path] = frozenset(filter(None, next(chunks).split("/")))
            if seen != _NOT_ITSELF:
                folders[path] = seen
        return cls(moment=moment, folders=folders, names=names, known=dict(map(_entry, chunks)))


def foreign(root: Path, start: Start, uid: int) -> bool:
    """Tell whether some path belongs to another uid, so that a session with this one could not change it."""
    return any(not _owned(f"{root}/{path}", uid) for path in start.paths())


def _owned(path: str, uid: int) -> bool:
    try:
        return os.lstat(path).st_uid == uid
    except (FileNotFoundError, NotADirectoryError):  # it is gone since it was listed: nobody's any more
        return True
    except OSError:
        return False


def can_tell_later(root: Path, folders: Mapping[str, Seen]) -> bool:
    """Tell whether files of this workspace can say later that they have not been changed.

    Their filesystem must stamp every change by this machine's clock, and in more than whole seconds. The top
    of a btrfs subvolume tells nothing: a snapshot that takes its place has the same inodes, and older files.
    """
    magic = kernel.filesystem_magic(str(root))
    if magic not in _STAMPED_BY_THE_KERNEL:
        return False
    if magic == _BTRFS and any(seen.inode == _SUBVOLUME_INODE for seen in folders.values()):
        return False
    return any(seen.ctime_ns % _SECOND_NS for seen in folders.values())


def facts_now(root: Path, paths: Iterable[str]) -> dict[str, Seen]:
    """Return what one lstat says of each path; one that is no file or symlink any more is left out."""
    found: dict[str, Seen] = {}
    for path in paths:
        try:
            seen = Seen.of(os.lstat(f"{root}/{path}"))
        except OSError:
            continue
        if seen.is_file or seen.is_symlink:
            found[path] = seen
    return found


def save_record(target: Path, start: Start) -> None:
    """Write what a session started on."""
    write_private(target, _HEADER + start.packed())


def load_record(source: Path) -> Start:
    """Read it back.

    Raises:
        StageBrokenError: When it is missing or is not what `save_record` wrote.
    """
    try:
        content = source.read_bytes()
        if not content.startswith(_HEADER):
            raise StageBrokenError(f"`{source}` is not a stage's record")
        return Start.unpacked(content[len(_HEADER) :])
    except (OSError, zlib.error, ValueError, TypeError, StopIteration) as error:
        raise StageBrokenError(f"the stage's record `{source}` cannot be read: {error}") from error


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _facts(seen: Seen) -> str:
    return f"{seen.mode:o} {seen.size} {seen.mtime_ns} {seen.ctime_ns} {seen.inode}"


def _entry(line: str) -> tuple[str, Seen]:
    mode, size, mtime, ctime, inode, path = line.split(" ", 5)
    return path, Seen(int(mode, 8), int(size), int(mtime), int(ctime), int(inode))
