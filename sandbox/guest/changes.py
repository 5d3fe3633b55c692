"""Say what differs: between two trees, the index and the files, as entries for the host."""

from __future__ import annotations

import os
import stat

from dulwich.diff_tree import tree_changes
from dulwich.object_store import iter_tree_contents
from dulwich.objects import Blob
from dulwich.patch import unified_diff

from .listing import name_of
from .refusal import RefusedError
from .text import lines_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dulwich.index import IndexEntry
    from dulwich.objects import ObjectID

    from .beneath import Beneath
    from .objects import Object
    from .repository import Repository

MAX_FILE_BYTES = 8 << 20
_GITLINK = 0o160000
_LOOKED_AT_BYTES = 8000
_NO_END = b"\n\\ No newline at end of file\n"


class Side:
    """One side of a change.

    Args:
        mode: the file's mode as git writes it; 0 where there is no file.
        content: its bytes; None for one that is too large or is a submodule.
    """

    def __init__(self, mode: int = 0, content: bytes | None = b"") -> None:
        self.mode = mode
        self.content = content


def of_trees(
    repository: Repository, old: ObjectID | None, new: ObjectID | None, paths: list[bytes]
) -> Iterator[tuple[bytes, Side, Side]]:
    """Give each file that differs between two trees, in the order of paths."""
    for change in tree_changes(repository.store, old, new, paths=paths or None, change_type_same=True):
        before, after = change.old, change.new
        path = (after.path if after is not None else None) or (before.path if before is not None else None)
        if path is not None:
            yield (
                path,
                _stored(repository, before.mode if before else None, before.sha if before else None),
                _stored(repository, after.mode if after else None, after.sha if after else None),
            )


def _stored(repository: Repository, mode: int | None, name: ObjectID | None) -> Side:
    if mode is None or name is None:
        return Side()
    if mode == _GITLINK:
        return Side(mode, b"Subproject commit " + name + b"\n")
    found = repository.store[name]
    content = found.data if isinstance(found, Blob) else None
    return Side(mode, content if content is None or len(content) <= MAX_FILE_BYTES else None)


def head_files(repository: Repository) -> dict[bytes, tuple[int, ObjectID]]:
    """Return path -> mode and name of every file of HEAD; empty before the first commit."""
    try:
        commit = repository.commit(b"HEAD")
    except RefusedError:
        return {}
    found = iter_tree_contents(repository.store, commit.tree)
    return {
        entry.path: (entry.mode, entry.sha)
        for entry in found
        if entry.path is not None and entry.mode is not None and entry.sha is not None
    }


def of_index(repository: Repository, paths: list[bytes]) -> Iterator[tuple[bytes, Side, Side]]:
    """Give each file that differs between HEAD and the index."""
    before = head_files(repository)
    entries, _, _ = repository.index()
    for path in sorted(before.keys() | entries.keys()):
        old = before.get(path)
        entry = entries.get(path)
        new = (entry.mode, entry.sha) if entry else None
        if old != new and is_wanted(path, paths):
            yield (
                path,
                _stored(repository, *(old or (None, None))),
                _stored(repository, *(new or (None, None))),
            )


def of_files(repository: Repository, paths: list[bytes]) -> Iterator[tuple[bytes, Side, Side]]:
    """Give each file that differs between the index and the workspace."""
    entries, _, written = repository.index()
    for path in sorted(entries):
        if is_wanted(path, paths):
            entry = entries[path]
            now = file_now(repository.beneath, path, entry, written)
            if now is not None:
                yield path, _stored(repository, entry.mode, entry.sha), now


def file_now(beneath: Beneath, path: bytes, entry: IndexEntry, index_written: float) -> Side | None:
    """Return a file as it is now; None when it is as the index has it.

    Size and time are believed where the index was written later than the file, as git does; content is
    compared byte for byte: no filter, line end conversion or attribute is applied.
    """
    if entry.mode == _GITLINK:
        return None
    try:
        looked_at = beneath.open(path, os.O_PATH | os.O_NOFOLLOW)
    except RefusedError:
        return Side()
    try:
        facts = os.fstat(looked_at)
        mode = _mode(facts.st_mode)
        if mode == entry.mode and facts.st_size == entry.size and _is_older(facts, entry, index_written):
            return None
        if mode == stat.S_IFLNK:
            content: bytes | None = os.readlink(b"", dir_fd=looked_at)
        elif mode and facts.st_size <= MAX_FILE_BYTES:
            content = _read(beneath, path)
        else:
            content = None
    finally:
        os.close(looked_at)
    if mode == entry.mode and content is not None and Blob.from_string(content).id == entry.sha:
        return None
    return Side(mode, content)


def _is_older(facts: os.stat_result, entry: IndexEntry, index_written: float) -> bool:
    seconds = entry.mtime[0] if isinstance(entry.mtime, tuple) else int(entry.mtime)
    return int(facts.st_mtime) == seconds and facts.st_mtime < index_written - 1


def _mode(mode: int) -> int:
    """Return a file's mode as git writes it; 0 for what git does not keep."""
    if stat.S_ISLNK(mode):
        return stat.S_IFLNK
    if stat.S_ISREG(mode):
        return 0o100755 if mode & 0o100 else 0o100644
    return 0


def _read(beneath: Beneath, path: bytes) -> bytes:
    descriptor = beneath.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return stream.read(MAX_FILE_BYTES + 1)


def is_wanted(path: bytes, paths: list[bytes]) -> bool:
    """Say whether a path is one of those, or lies below one."""
    return not paths or any(path == wanted or path.startswith(wanted + b"/") for wanted in paths)


def letter(old: int, new: int) -> str:
    """Return git's letter for a change from a mode to another; 0 is no file."""
    if not old or not new:
        return "D" if old else "A"
    return "M" if stat.S_IFMT(old) == stat.S_IFMT(new) else "T"


def entry_of(path: bytes, old: Side, new: Side) -> Object:
    """Describe a change for the host: the path, the letter that git shows, and a unified diff."""
    entry: Object = {**name_of(path), "kind": "change", "letter": letter(old.mode, new.mode)}
    if old.mode and new.mode and old.mode != new.mode:
        entry["modes"] = f"{old.mode:o} -> {new.mode:o}"
    if old.content is None or new.content is None:
        return {**entry, "why_not": "too large"}
    if any(b"\0" in side.content[:_LOOKED_AT_BYTES] for side in (old, new) if side.content):
        return {**entry, "why_not": "binary"}
    return {**entry, **text_of(b"".join(_hunks(old, new)))}


def _hunks(old: Side, new: Side) -> Iterator[bytes]:
    """Give the lines of a unified diff below its two header lines, which the host writes."""
    before, after = (lines_of(side.content or b"") for side in (old, new))
    for number, line in enumerate(unified_diff(before, after)):
        if number > 1:
            yield line if line.endswith(b"\n") else line + _NO_END
