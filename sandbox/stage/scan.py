"""Walk the workspace once, before a session starts: what is there, and what of it must be absent.

One lstat for each path; nothing is opened. What cannot be looked into is treated as hidden and told.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sandbox.stage.base import RecordLines, facts_of, packed_record, unpacked_record
from sandbox.stage.errors import StageError
from sandbox.stage.layout import YARD_PREFIX
from sandbox.stage.listing import listed, settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sandbox.stage.base import Seen
    from sandbox.stage.layout import WalkMatcher

PAGE_BYTES: Final = 4096
"""The unit in which a memory file system holds files, on most machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one walk of a workspace found."""

    record: bytes
    """Every path that the agent may see, and what one lstat said of it (`base.packed_record`)."""
    count: int
    """How many there are, the workspace itself among them."""
    folders: Mapping[str, int]
    """The folders among them, and the mtime of each (`listing.settled`); the workspace itself is `""`."""
    hidden: tuple[str, ...]
    """Paths that match `hide`, and what an interrupted apply left; a folder hidden as a whole is one path."""
    linked: tuple[str, ...]
    """Visible names of a file that is hidden under another name (hard links); hidden too."""
    special: tuple[str, ...]
    """Sockets, pipes and devices: ways out of the sandbox, or traps; always hidden."""
    unreadable: tuple[str, ...]
    """Folders that this user cannot list or look into, so that nobody knows what they hold; always hidden."""
    other_mounts: tuple[str, ...]
    """Folders on which another filesystem is mounted; the agent sees them empty."""
    foreign: int
    """How many paths belong to another uid than the session's."""
    content_bytes: int
    """What the files of the record take in a memory file system, bytes: whole pages."""
    seconds: float
    """How long the walk took."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Return every path that must not be there for the agent, sorted."""
        return tuple(sorted({*self.hidden, *self.linked, *self.special, *self.unreadable}))

    def entries(self) -> dict[str, Seen]:
        """Return every path that the agent may see, relative to the workspace; only copies need them."""
        return unpacked_record(self.record)


class _Folder(NamedTuple):
    """A folder that is to be looked into."""

    absolute: str
    path: str
    line: str
    """Its line of the record, written once it could be listed."""
    mtime_ns: int
    wary: bool
    """Whether the quick test may not be trusted below it: it said True of a folder above."""


@dataclass(slots=True)
class _Walk:
    """The walk in progress."""

    hide: WalkMatcher
    uid: int
    device: int
    lines: RecordLines = field(default_factory=RecordLines)
    folders: dict[str, int] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    other_mounts: list[str] = field(default_factory=list)
    hidden_folders: list[str] = field(default_factory=list)
    shared: dict[int, list[str]] = field(default_factory=dict)
    hidden_inodes: set[int] = field(default_factory=set)
    pending: list[_Folder] = field(default_factory=list)
    foreign: int = 0
    content_pages: int = 0

    def run(self) -> None:
        """Look into every folder, and those found on the way."""
        suspect, matches = self.hide.suspects(), self.hide.matches
        while self.pending:
            folder = self.pending.pop()
            listing = self._listing(folder)
            if listing is None:
                continue
            self.folders[folder.path] = settled(folder.mtime_ns)
            prefix = folder.path + "/" if folder.path else ""
            lines = [folder.line]
            for entry in listing:  # 100,000 times: what is the same for each is decided above
                name = entry.name
                path = prefix + name
                status = entry.stat(follow_symlinks=False)
                wary = folder.wary or suspect(name)
                if (wary and matches(path)) or (not prefix and name.startswith(YARD_PREFIX)):
                    self._hide(path, entry.path, status)
                    continue
                mode = status.st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                    self.special.append(path)
                    continue
                self.foreign += status.st_uid != self.uid
                line = f"{facts_of(status)} {path}"
                if stat.S_ISDIR(mode):
                    self._folder(_Folder(entry.path, path, line, status.st_mtime_ns, wary), status.st_dev)
                    continue
                lines.append(line)
                self.content_pages += -(-status.st_size // PAGE_BYTES)
                if status.st_nlink > 1 and stat.S_ISREG(mode):
                    self.shared.setdefault(status.st_ino, []).append(path)
            self.lines.add(lines)

    def _folder(self, folder: _Folder, device: int) -> None:
        """Put a folder on the list, unless another filesystem is mounted on it."""
        if device == self.device:
            self.pending.append(folder)
            return
        self.other_mounts.append(folder.path)
        self.folders[folder.path] = folder.mtime_ns
        self.lines.add([folder.line])

    def _listing(self, folder: _Folder) -> list[os.DirEntry[str]] | None:
        try:
            return listed(folder.absolute)
        except FileNotFoundError:
            return []
        except OSError as error:
            if not folder.path:
                why = (error.strerror or "unknown").lower()
                raise StageError(f"workspace `{folder.absolute}` cannot be listed: {why}") from error
            self.unreadable.append(folder.path)
            return None

    def _hide(self, path: str, absolute: str, status: os.stat_result) -> None:
        self.hidden.append(path)
        if stat.S_ISDIR(status.st_mode):
            self.hidden_folders.append(absolute)
        elif status.st_nlink > 1:
            self.hidden_inodes.add(status.st_ino)

    def record(self, without: tuple[str, ...]) -> tuple[bytes, int]:
        """Return the record, but for some paths, and how many it has."""
        packed = self.lines.packed()
        if without:
            entries = unpacked_record(packed)
            for path in without:
                del entries[path]
            packed = packed_record(entries)
        return packed, self.lines.count - len(without)


def scan(root: Path, hide: WalkMatcher, *, uid: int) -> Scan:
    """Walk `root` and return what is there.

    Args:
        root: The workspace, resolved.
        hide: What the agent must not see; asked of each path that its quick test does not rule out.
        uid: The session's uid; what belongs to another one is counted.

    Raises:
        StageError: When the workspace itself cannot be listed.
    """
    begun = time.monotonic()
    status = root.stat()
    walk = _Walk(hide=hide, uid=uid, device=status.st_dev, foreign=int(status.st_uid != uid))
    walk.pending.append(_Folder(str(root), "", f"{facts_of(status)} ", status.st_mtime_ns, wary=False))
    walk.run()
    linked = tuple(sorted(_linked(walk)))
    record, count = walk.record(linked)
    return Scan(
        record=record,
        count=count,
        folders=walk.folders,
        hidden=tuple(sorted(walk.hidden)),
        linked=linked,
        special=tuple(sorted(walk.special)),
        unreadable=tuple(sorted(walk.unreadable)),
        other_mounts=tuple(sorted(walk.other_mounts)),
        foreign=walk.foreign,
        content_bytes=walk.content_pages * PAGE_BYTES,
        seconds=time.monotonic() - begun,
    )


def _linked(walk: _Walk) -> Iterator[str]:
    """Yield visible hard links to hidden files; hidden folders are looked into only when there can be any."""
    if walk.shared:
        for absolute in walk.hidden_folders:
            for folder, _, names in os.walk(absolute):
                walk.hidden_inodes.update(_inodes(folder, names))
    for inode, paths in walk.shared.items():
        if inode in walk.hidden_inodes:
            yield from paths


def _inodes(folder: str, names: list[str]) -> Iterator[int]:
    for name in names:
        try:
            yield os.lstat(os.path.join(folder, name)).st_ino  # noqa: PTH118 - 100,000 times, as text
        except OSError:
            continue
