"""Read what the agent wrote: an untrusted tree, in which nothing is followed and nothing blocks."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sandbox.stage.base import Seen
from sandbox.stage.beneath import MAX_DEPTH, MAX_PATH_BYTES, Beneath
from sandbox.stage.errors import PathRefusedError, StageBrokenError, StageLimitError
from sandbox.stage.layout import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.stage.layout import StageFolder

MAX_UPPER_ENTRIES: Final = 1_000_000
"""Most paths of an upper folder that are read; the session's own limit on written files is far below."""

_OPAQUE: Final = "user.overlay.opaque"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A path of the agent's that could not be read, and so can be neither reviewed nor applied."""

    path: str
    """Relative to the workspace."""
    reason: str
    """Why not, lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperTree:
    """Everything in an upper folder."""

    entries: dict[str, Seen]
    """What was written, by path; folders that were only passed through are here too."""
    deleted: frozenset[str]
    """Paths that were removed from the layer below (whiteouts), with all they held."""
    opaque: frozenset[str]
    """Folders behind which nothing of the layer below shows."""
    troubles: tuple[Trouble, ...]
    """What could not be read."""


@dataclass(slots=True)
class _Walk:
    upper: Beneath
    entries: dict[str, Seen] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    troubles: list[Trouble] = field(default_factory=list)

    def folder(self, path: str, pending: list[str]) -> None:
        try:
            with self.upper.folder(path) as descriptor:
                if _is_opaque(descriptor):
                    self.opaque.add(path)
                with os.scandir(descriptor) as listing:
                    for entry in listing:
                        self._entry(path, entry, pending)
        except PathRefusedError as error:
            self.troubles.append(Trouble(path, error.reason))

    def _entry(self, parent: str, entry: os.DirEntry[str], pending: list[str]) -> None:
        path = f"{parent}/{entry.name}" if parent else entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            self.troubles.append(Trouble(path, (error.strerror or "it cannot be read").lower()))
            return
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            self.deleted.add(path)
            return
        self.entries[path] = Seen.of(status)
        if len(self.entries) > MAX_UPPER_ENTRIES:
            raise StageLimitError(f"the agent's tree holds more than `{MAX_UPPER_ENTRIES}` paths")
        if stat.S_ISDIR(status.st_mode):
            self._descend(path, pending)

    def _descend(self, path: str, pending: list[str]) -> None:
        if path.count("/") + 2 > MAX_DEPTH or len(os.fsencode(path)) > MAX_PATH_BYTES - 256:
            self.troubles.append(Trouble(path, "what it holds is too deep to be read"))
        else:
            pending.append(path)


def read_upper(folder: StageFolder) -> UpperTree:
    """Read the upper folder of a stage.

    Raises:
        StageLimitError: When it holds more than `MAX_UPPER_ENTRIES` paths.
        StageBrokenError: When the list of deletions beside it is damaged.
        PathRefusedError: When there is no upper folder.
    """
    with Beneath.open(folder.upper) as upper:
        walk = _Walk(upper)
        pending = [""]
        while pending:
            walk.folder(pending.pop(), pending)
    return UpperTree(
        entries=walk.entries,
        deleted=frozenset(walk.deleted | load_deleted(folder.deleted)),
        opaque=frozenset(walk.opaque),
        troubles=tuple(sorted(walk.troubles, key=lambda t: t.path)),
    )


def load_deleted(source: Path) -> set[str]:
    """Return the deletions listed beside an upper folder that cannot hold whiteouts.

    Raises:
        StageBrokenError: When the file is damaged.
    """
    try:
        return {str(path) for path in json.loads(source.read_bytes())}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError) as error:
        raise StageBrokenError(f"the stage's deletions `{source}` cannot be read: {error}") from error


def note_deleted(folder: StageFolder, fresh: Path, gone: list[str]) -> None:
    """Write down the deletions of an upper folder that is about to take the place of the stage's."""
    told = {"upper": fresh.stat().st_ino, "deleted": gone}
    write_private(folder.deleted_next, json.dumps(told).encode())


def finish_deleted(folder: StageFolder) -> None:
    """Bring in the deletions of an upper folder that has taken its place; a kill may have come between.

    Deletions of one that never took it are left: the next that comes back writes its own.

    Raises:
        StageBrokenError: When the list is damaged.
    """
    try:
        told = json.loads(folder.deleted_next.read_bytes())
        if folder.upper.stat().st_ino != int(told["upper"]):
            return
        write_private(folder.deleted, json.dumps(list(map(str, told["deleted"]))).encode())
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StageBrokenError(
            f"the stage's deletions `{folder.deleted_next}` cannot be read: {error}"
        ) from error
    folder.sent.unlink(missing_ok=True)
    folder.deleted_next.unlink(missing_ok=True)


def _is_opaque(descriptor: int) -> bool:
    try:
        return os.getxattr(descriptor, _OPAQUE) == b"y"
    except OSError:
        return False
