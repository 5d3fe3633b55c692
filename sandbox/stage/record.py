"""Know what the workspace held when a session started: its names were written down, its files can still tell.

A file that the kernel stamped (ctime) before the start, in folders that are still the same ones, is what it
was. So nothing has to be asked of 100,000 files before a session; what the few that the agent changes tell
afterwards is written down when it is learnt.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.stage.base import Seen
from sandbox.stage.beneath import parents_of, split
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.stage.beneath import Beneath
    from sandbox.stage.start import Start


@dataclass(slots=True, eq=False)
class Record(Mapping[str, Seen]):
    """What the workspace held when the session started, by path."""

    start: Start
    live: Beneath
    """The workspace as it is now."""
    learnt: dict[str, Seen] = field(default_factory=dict)
    """What files told when they were asked first, which holds whatever becomes of them later."""
    set_back: Path | None = None
    """A file that is there once the clock was seen set back: what was not learnt by then nobody knows."""

    def __getitem__(self, path: str) -> Seen:
        """Return what a path was; nothing agrees with it (`unknown`) where nobody can tell any more."""
        if path not in self:
            raise KeyError(path)
        return self.told(path) or self._asked(path)

    def told(self, path: str) -> Seen | None:
        """Return what a path was as far as it is written down; nothing is asked."""
        for told in (self.start.folders, self.start.known, self.learnt):
            if path in told:
                return told[path]
        return None

    @property
    def asks(self) -> bool:
        """Tell whether files can still be asked: their stamps compare with the start's."""
        seen = self.set_back is not None and self.set_back.exists()
        return not seen and self.start.moment.holds()

    def __contains__(self, path: object) -> bool:
        """Tell whether there was such a path; no file is asked."""
        if path in self.start.known or path in self.start.folders:
            return True
        folder, name = split(str(path))
        return name in self.start.names.get(folder, ())

    def __iter__(self) -> Iterator[str]:
        """Yield every path."""
        return self.start.paths()

    def __len__(self) -> int:
        """Return how many paths there were, the workspace itself among them."""
        return len(self.start)

    def take(self, path: str, seen: Seen) -> None:
        """Take what is at a path now as what the session started on."""
        if not (seen.is_folder and path in self.start.folders):
            self.drop(path)
        if seen.is_folder:
            self.start.folders[path] = seen
            self.start.names.setdefault(path, frozenset())
        else:
            self.start.known[path] = seen

    def drop(self, path: str) -> None:
        """Take a path, and what a folder held, for what was not there."""
        for told in (self.start.known, self.learnt, self.start.folders, self.start.names):
            told.pop(path, None)
        folder, name = split(path)
        if name in self.start.names.get(folder, ()):
            self.start.names[folder] -= {name}

    def _asked(self, path: str) -> Seen:
        try:
            status = self.live.stat(path)
            reached = self._reached_as_then(path)
        except PathRefusedError:
            return unknown(None)
        moment, found = self.start.moment, None if status is None else Seen.of(status)
        if found is None or found.ctime_ns >= moment.wall_ns or not (reached and self.asks):
            return unknown(found)
        self.learnt[path] = found
        return found

    def _reached_as_then(self, path: str) -> bool:
        """Tell whether the folders above a path are those of the start: others may hold other old files."""
        for parent in parents_of(path):
            now = self.live.stat(parent)
            then = self.get(parent)
            if now is None or then is None or now.st_ino != then.inode:
                return False
        return True


def unknown(now: Seen | None) -> Seen:
    """Return what stands for a file that was there, and of which nobody knows what it was.

    Args:
        now: What is there now; None for nothing. Its mode says nothing of what it was.
    """
    mode = now.mode if now is not None and (now.is_file or now.is_symlink) else stat.S_IFREG | 0o644
    return Seen(mode, 0, 0, 0, 0)
