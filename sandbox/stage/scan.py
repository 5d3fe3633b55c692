"""Walk the workspace once, before a session starts: what is there, and what of it must be absent.

One lstat for each path; nothing is opened. What cannot be looked into is treated as hidden and told.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.stage.base import Seen
from sandbox.stage.errors import StageError
from sandbox.stage.layout import YARD_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.stage.layout import PathMatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one walk of a workspace found."""

    entries: dict[str, Seen]
    """Every path that the agent may see, relative to the workspace; the workspace itself is `""`."""
    hidden: tuple[str, ...]
    """Paths that match `hide`, and what an interrupted apply left; a folder hidden as a whole is one path."""
    linked: tuple[str, ...]
    """Visible names of a file that is hidden under another name (hard links); hidden too."""
    special: tuple[str, ...]
    """Sockets, pipes and devices: ways out of the sandbox, or traps; always hidden."""
    unreadable: tuple[str, ...]
    """Folders that this user cannot list, so that nobody knows what they hold; always hidden."""
    other_mounts: tuple[str, ...]
    """Folders on which another filesystem is mounted; the agent sees them empty."""
    foreign: int
    """How many paths belong to another uid than the session's."""
    seconds: float
    """How long the walk took."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Return every path that must not be there for the agent, sorted."""
        return tuple(sorted({*self.hidden, *self.linked, *self.special, *self.unreadable}))


@dataclass(slots=True)
class _Walk:
    """The walk in progress."""

    hide: PathMatcher
    uid: int
    device: int
    entries: dict[str, Seen] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    other_mounts: list[str] = field(default_factory=list)
    hidden_folders: list[tuple[str, str]] = field(default_factory=list)
    shared: dict[int, list[str]] = field(default_factory=dict)
    hidden_inodes: set[int] = field(default_factory=set)
    foreign: int = 0

    def folder(self, absolute: str, relative: str, pending: list[tuple[str, str]]) -> None:
        """Look at every entry of one folder, and put the folders in it on `pending`."""
        prefix = relative + "/" if relative else ""
        for entry in self._listing(absolute, relative):
            path = prefix + entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if self.hide.matches(path) or path.startswith(YARD_PREFIX):
                self._hide(path, entry.path, status)
            elif self._keep(path, status):
                pending.append((entry.path, path))

    def _listing(self, absolute: str, relative: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(absolute) as listing:
                return list(listing)
        except FileNotFoundError:
            return []
        except OSError as error:
            if not relative:
                message = f"workspace `{absolute}` cannot be listed: {(error.strerror or 'unknown').lower()}"
                raise StageError(message) from error
            self.entries.pop(relative, None)
            self.unreadable.append(relative)
            return []

    def _hide(self, path: str, absolute: str, status: os.stat_result) -> None:
        self.hidden.append(path)
        if stat.S_ISDIR(status.st_mode):
            self.hidden_folders.append((absolute, path))
        elif status.st_nlink > 1:
            self.hidden_inodes.add(status.st_ino)

    def _keep(self, path: str, status: os.stat_result) -> bool:
        """Record a visible path; return whether it is a folder to go into."""
        kind = stat.S_IFMT(status.st_mode)
        if kind not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
            self.special.append(path)
            return False
        self.entries[path] = Seen(
            status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        )
        self.foreign += status.st_uid != self.uid
        if kind == stat.S_IFDIR:
            if status.st_dev == self.device:
                return True
            self.other_mounts.append(path)
        elif status.st_nlink > 1 and kind == stat.S_IFREG:
            self.shared.setdefault(status.st_ino, []).append(path)
        return False


def scan(root: Path, hide: PathMatcher, *, uid: int) -> Scan:
    """Walk `root` and return what is there.

    Args:
        root: The workspace, resolved.
        hide: What the agent must not see; asked once for each path.
        uid: The session's uid; what belongs to another one is counted.

    Raises:
        StageError: When the workspace itself cannot be listed.
    """
    begun = time.monotonic()
    status = root.stat()
    walk = _Walk(hide=hide, uid=uid, device=status.st_dev, entries={"": Seen.of(status)})
    walk.foreign += status.st_uid != uid
    pending = [(str(root), "")]
    while pending:
        walk.folder(*pending.pop(), pending)
    linked = tuple(sorted(_linked(walk)))
    for path in linked:
        del walk.entries[path]
    return Scan(
        entries=walk.entries,
        hidden=tuple(sorted(walk.hidden)),
        linked=linked,
        special=tuple(sorted(walk.special)),
        unreadable=tuple(sorted(walk.unreadable)),
        other_mounts=tuple(sorted(walk.other_mounts)),
        foreign=walk.foreign,
        seconds=time.monotonic() - begun,
    )


def _linked(walk: _Walk) -> Iterator[str]:
    """Yield visible hard links to hidden files; hidden folders are looked into only when there can be any."""
    if walk.shared:
        for absolute, _ in walk.hidden_folders:
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
