"""Walk the workspace once, before a session starts: which names are there, and which must be absent.

One list of each folder; no file is opened, and none is asked what it is but those that are hidden, for their
other names. What cannot be looked into is treated as hidden and told.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sandbox.stage.base import Seen
from sandbox.stage.errors import StageError
from sandbox.stage.layout import YARD_PREFIX
from sandbox.stage.listing import settled
from sandbox.stage.moment import Moment
from sandbox.stage.start import Start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.stage.layout import WalkMatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one walk of a workspace found."""

    start: Start
    """What the agent may see, by name."""
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
    seconds: float
    """How long the walk took."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Return every path that must not be there for the agent, sorted."""
        return tuple(sorted({*self.hidden, *self.linked, *self.special, *self.unreadable}))

    @property
    def watched(self) -> dict[str, int]:
        """Return each folder's ctime, as far as it says what was listed (`listing.settled`)."""
        then_ns = self.start.moment.wall_ns
        return {path: settled(seen.ctime_ns, now_ns=then_ns) for path, seen in self.start.folders.items()}


_Suspected = Callable[[Sequence[str]], frozenset[str]]


class _Folder(NamedTuple):
    """A folder that is to be looked into."""

    absolute: str
    path: str
    wary: bool
    """Whether the quick test may not be trusted below it: it said True of a folder above."""


@dataclass(slots=True)
class _Walk:
    """The walk in progress."""

    hide: WalkMatcher
    ended: Callable[[], bool]
    device: int
    folders: dict[str, Seen] = field(default_factory=dict)
    names: dict[str, frozenset[str]] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    other_mounts: list[str] = field(default_factory=list)
    hidden_inodes: set[tuple[int, int]] = field(default_factory=set)
    """Device and inode of hidden files that have more names than one."""
    pending: list[_Folder] = field(default_factory=list)

    def run(self) -> None:
        """Look into every folder, and those found on the way."""
        suspected, matches = self.hide.suspects(), self.hide.matches
        while self.pending:
            folder = self.pending.pop()
            if self.ended():
                raise StageError(f"the walk of `{folder.absolute}` was ended")
            try:
                self._folder(folder, suspected, matches)
            except OSError as error:
                if not folder.path:
                    raise _cannot_be_listed(folder.absolute, error) from error
                if not isinstance(error, FileNotFoundError):
                    self.unreadable.append(folder.path)

    def _folder(self, folder: _Folder, suspected: _Suspected, matches: Callable[[str], bool]) -> None:
        status = os.lstat(folder.absolute + "/.")  # needs `x` of the folder, as everything in it does
        if status.st_dev != self.device:
            self.other_mounts.append(folder.path)
            self.folders[folder.path], self.names[folder.path] = Seen.of(status), frozenset()
            return
        with os.scandir(folder.absolute) as listing:
            entries = list(listing)
        prefix = folder.path + "/" if folder.path else ""
        names = [entry.name for entry in entries]
        wary = frozenset(names) if folder.wary else suspected(names)
        absent = {name for name in wary if matches(prefix + name)}
        if not prefix:
            absent.update(name for name in names if name.startswith(YARD_PREFIX))
        for name in absent:
            self._hide(prefix + name, f"{folder.absolute}/{name}")
        shown = set(names) - absent
        for entry in [entry for entry in entries if not entry.is_file(follow_symlinks=False)]:
            if entry.name in shown and not entry.is_symlink():
                shown.remove(entry.name)
                self._other(entry, prefix + entry.name, wary=entry.name in wary)
        self.folders[folder.path], self.names[folder.path] = Seen.of(status), frozenset(shown)

    def _other(self, entry: os.DirEntry[str], path: str, *, wary: bool) -> None:
        """Take what is neither a file nor a symlink."""
        if entry.is_dir(follow_symlinks=False):
            self.pending.append(_Folder(entry.path, path, wary))
        elif os.path.lexists(entry.path):
            self.special.append(path)

    def _hide(self, path: str, absolute: str) -> None:
        self.hidden.append(path)
        try:
            status = os.lstat(absolute)
        except OSError:
            return
        if not stat.S_ISDIR(status.st_mode) or status.st_dev == self.device:
            self.hidden_inodes.update(_other_names(absolute, status))

    def linked(self, root: Path) -> tuple[str, ...]:
        """Return visible hard links to hidden files; all files are asked, only where there can be any."""
        if not self.hidden_inodes:
            return ()
        found: list[str] = []
        for folder, names in self.names.items():
            prefix = folder + "/" if folder else ""
            linked = {name for name in names if _file_at(f"{root}/{prefix}{name}") in self.hidden_inodes}
            self.names[folder] = names - linked
            found += [prefix + name for name in linked]
        return tuple(sorted(found))


def scan(root: Path, hide: WalkMatcher, *, ended: Callable[[], bool] = lambda: False) -> Scan:
    """Walk `root` and return what is there.

    Args:
        root: The workspace, resolved.
        hide: What the agent must not see; asked of each path that its quick test does not rule out.
        ended: Asked before each folder whether anybody still wants to know.

    Raises:
        StageError: When the workspace itself cannot be listed, or nobody wants to know any more.
    """
    begun, moment = time.monotonic(), Moment.now()
    walk = _Walk(hide, ended, _device(root))
    walk.pending.append(_Folder(str(root), "", wary=False))
    walk.run()
    linked = walk.linked(root)
    return Scan(
        start=Start(moment=moment, folders=walk.folders, names=walk.names, known={}),
        hidden=tuple(sorted(walk.hidden)),
        linked=linked,
        special=tuple(sorted(walk.special)),
        unreadable=tuple(sorted(walk.unreadable)),
        other_mounts=tuple(sorted(walk.other_mounts)),
        seconds=time.monotonic() - begun,
    )


def _device(root: Path) -> int:
    try:
        return root.stat().st_dev
    except OSError as error:
        raise _cannot_be_listed(str(root), error) from error


def _cannot_be_listed(root: str, error: OSError) -> StageError:
    why = (error.strerror or "unknown").lower()
    return StageError(f"workspace `{root}` cannot be listed: {why}")


def _other_names(absolute: str, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """Yield the files with other names, of a hidden file or of all that a hidden folder holds.

    Other filesystems that are mounted there are left out: no link leads out of one.
    """
    if not stat.S_ISDIR(status.st_mode):
        if status.st_nlink > 1:
            yield status.st_dev, status.st_ino
        return
    for folder, folders, names in os.walk(absolute):
        folders[:] = [name for name in folders if _file_at(f"{folder}/{name}")[0] == status.st_dev]
        for name in names:
            try:
                below = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - 100,000 times, as text
            except OSError:
                continue
            if below.st_nlink > 1:
                yield below.st_dev, below.st_ino


def _file_at(absolute: str) -> tuple[int, int]:
    """Return the device and the inode of what is at a path; -1 and -1 for nothing, which no file has."""
    try:
        status = os.lstat(absolute)
    except OSError:
        return -1, -1
    return status.st_dev, status.st_ino
