"""Say where a folder lies in its filesystem, whatever bind mounts its path leads through.

Read from /proc/self/mountinfo (proc_pid_mountinfo(5)); where there is none, a folder is known by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from sandbox.stage.errors import LabelError

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Location:
    """A folder in its filesystem."""

    device: str
    """The filesystem, as `major:minor`."""
    path: PurePosixPath
    """From the filesystem's own root."""

    def within(self, other: Location) -> bool:
        """Tell whether this is the other folder, or lies in it."""
        return self.device == other.device and self.path.is_relative_to(other.path)


@dataclass(frozen=True, slots=True)
class _Mount:
    point: PurePosixPath
    shows: Location


@dataclass(frozen=True, slots=True)
class Mounts:
    """What is mounted where, at one moment."""

    mounts: tuple[_Mount, ...]
    """In the order in which they were made: a later one hides an earlier one at the same place."""

    @classmethod
    def now(cls, table: Path = _MOUNTINFO) -> Mounts:
        """Read the table of mounts; an empty one where the machine has none.

        Raises:
            LabelError: When it has one that cannot be read.
        """
        try:
            text = table.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return cls(())
        except OSError as error:
            why = (error.strerror or "").lower()
            raise LabelError(f"the table of mounts `{table}` cannot be read: {why}") from error
        return cls(tuple(filter(None, map(_mount, text.split("\n")))))

    @property
    def show_a_filesystem_twice(self) -> bool:
        """Whether a folder can have two names at all: where not, what its path says is all there is."""
        devices = [mount.shows.device for mount in self.mounts]
        return len(set(devices)) < len(devices)

    def location(self, path: str) -> Location | None:
        """Return where a folder lies; None where that cannot be told.

        Args:
            path: Absolute, resolved.
        """
        folder, found = PurePosixPath(path), None
        for mount in self.mounts:
            deeper = found is None or len(mount.point.parts) >= len(found.point.parts)
            if deeper and folder.is_relative_to(mount.point):
                found = mount
        if found is None:
            return None
        return Location(found.shows.device, found.shows.path / folder.relative_to(found.point))

    def reach(self, path: str) -> tuple[Location, ...]:
        """Return where what a folder shows lies: the folder itself, and what is mounted in it."""
        own, folder = self.location(path), PurePosixPath(path)
        below = [
            mount.shows
            for mount in self.mounts
            if mount.point != folder and mount.point.is_relative_to(folder)
        ]
        return (*([own] if own else []), *below)


def _mount(line: str) -> _Mount | None:
    words = line.split(" ")
    if len(words) < 6:  # its id, its parent's, device, root, mount point, options
        return None
    root, point = map(_plain, words[3:5])
    return _Mount(point, Location(words[2], root))


def _plain(word: str) -> PurePosixPath:
    """Return a path without its escapes, which are octal bytes of the file's own encoding."""
    raw = _OCTAL.sub(lambda found: chr(int(found[1], 8)), word)
    return PurePosixPath(raw)
