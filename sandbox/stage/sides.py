"""Say what a path is, in the agent's tree or the user's folder, and whether the user changed it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sandbox.stage.base import Seen, untouched
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.opened import digest_of

if TYPE_CHECKING:
    from sandbox.stage.beneath import Beneath
    from sandbox.stage.opened import OpenStage


class EntryKind(StrEnum):
    """What a path is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What a path is, before or after."""

    kind: EntryKind
    mode: int
    """Permission bits, setuid, setgid and sticky included."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of a file's content, hexadecimal; empty for what is no file, or where nobody knows it."""
    target: str
    """Where a symlink points; empty for everything else."""

    def same_thing(self, other: Side) -> bool:
        """Tell whether both are the same content of the same kind, whatever their permissions.

        A socket, pipe or device is no other's equal: nothing that is kept of it says which it is.
        """
        if self.kind is EntryKind.SPECIAL or self.kind is not other.kind or self.target != other.target:
            return False
        return self.kind is not EntryKind.FILE or (self.digest == other.digest != "")


def entry_kind(seen: Seen) -> EntryKind:
    """Return the kind of what one lstat saw."""
    if seen.is_file:
        return EntryKind.FILE
    if seen.is_folder:
        return EntryKind.FOLDER
    return EntryKind.SYMLINK if seen.is_symlink else EntryKind.SPECIAL


def side_of(folder: Beneath, path: str, seen: Seen) -> Side:
    """Return what is at `path` in `folder`, its content's digest included.

    Raises:
        PathRefusedError: When it cannot be read, or is not any more what `seen` says.
    """
    kind = entry_kind(seen)
    return Side(
        kind=kind,
        mode=seen.permissions,
        size=seen.size,
        digest=digest_of(folder, path) if kind is EntryKind.FILE else "",
        target=folder.readlink(path) if kind is EntryKind.SYMLINK else "",
    )


def conflict_of(stage: OpenStage, path: str, before: Side | None, after: Side | None) -> str:
    """Say what the user did to a path that the agent changed; the same result on both sides is no conflict.

    Args:
        stage: The stage.
        path: The path.
        before: What the session started with; None for nothing.
        after: What the agent left; None for nothing.

    Returns:
        One phrase, or an empty text when the change can be applied.
    """
    try:
        now = stage.live_seen(path)
        if now is None:
            return "" if before is None or after is None else "it was deleted meanwhile"
        if before is None:
            return "" if _already(stage, path, now, after) else _in_the_way(stage, path)
        return _against(stage, path, now, before, after)
    except PathRefusedError as error:
        return error.reason


def _against(stage: OpenStage, path: str, now: Seen, before: Side, after: Side | None) -> str:
    if now.is_folder and before.kind is EntryKind.FOLDER:
        expected = {before.mode, after.mode if after else before.mode}
        return "" if now.permissions in expected else "its mode was changed meanwhile"
    then = stage.record[path]
    if untouched(then, now):
        return ""
    found = side_of(stage.live, path, now)
    if after is not None and found.same_thing(after):
        kept = found.mode == after.mode or (then.is_known and before.mode in {found.mode, after.mode})
        return "" if kept else "its mode was changed meanwhile"
    return "" if found.mode == before.mode and found.same_thing(before) else "it was changed meanwhile"


def _already(stage: OpenStage, path: str, now: Seen, after: Side | None) -> bool:
    return after is not None and side_of(stage.live, path, now).same_thing(after)


def _in_the_way(stage: OpenStage, path: str) -> str:
    if at_or_below(path, stage.absent):
        return "it exists, and was hidden from the session"
    return "it appeared meanwhile"


def at_or_below(path: str, folders: frozenset[str]) -> bool:
    """Tell whether `path` is one of `folders`, or lies in one."""
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False
