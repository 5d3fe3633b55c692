"""Answer git's questions, one function for each: status, diff, log, show, blame."""

from __future__ import annotations

import os
import stat

from dulwich.annotate import update_lines
from dulwich.objects import Blob, ObjectID, Tree, TreeEntry
from dulwich.walk import Walker

from . import changes
from .beneath import shown
from .ignored import Ignored
from .listing import name_of
from .refusal import RefusedError
from .text import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dulwich.objects import Commit

    from .arguments import Arguments
    from .objects import Object
    from .repository import Repository

MAX_COMMITS = 1000
MAX_UNTRACKED = 10_000
MAX_DEPTH = 64
MAX_BLAME_BYTES = 2 << 20
_NO_ENTRY = TreeEntry(b"", 0, ObjectID(b""))  # `update_lines` carries it along and never looks
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def status(repository: Repository, arguments: Arguments) -> Iterator[Object]:
    """Give the branch, and each path that differs with git's two letters."""
    paths = _paths(arguments)
    yield {"kind": "branch", **text_of(repository.head)}
    before = changes.head_files(repository)
    entries, conflicts, written = repository.index()
    for path in sorted(before.keys() | entries.keys() | set(conflicts)):
        if not changes.is_wanted(path, paths):
            continue
        entry = entries.get(path)
        if path in conflicts:
            yield {"kind": "status", "letters": "UU", **name_of(path)}
            continue
        old = before.get(path)
        staged = (
            " " if entry and old == (entry.mode, entry.sha) else "A" if not old else "M" if entry else "D"
        )
        now = changes.file_now(repository.beneath, path, entry, written) if entry else None
        work = " " if now is None else "M" if now.mode else "D"
        if staged + work != "  ":
            yield {"kind": "status", "letters": staged + work, **name_of(path)}
    yield from _untracked(repository, set(entries) | set(conflicts), paths)


def _untracked(repository: Repository, known: set[bytes], paths: list[bytes]) -> Iterator[Object]:
    """Give files that git does not know; a folder without any known file is one entry, as in git."""
    folders = {path[:end] for path in known for end in _slashes(path)}
    shown = b"\0"
    count = 0
    for path in _files(repository.beneath.root, b"", 0, None):
        if path in known or path.startswith(shown) or not changes.is_wanted(path, paths):
            continue
        shown = next((path[: end + 1] for end in _slashes(path) if path[:end] not in folders), path)
        count += 1
        if count > MAX_UNTRACKED:
            return
        yield {"kind": "status", "letters": "??", **name_of(shown)}
        if not shown.endswith(b"/"):
            shown = b"\0"


def _slashes(path: bytes) -> Iterator[int]:
    place = path.find(b"/")
    while place >= 0:
        yield place
        place = path.find(b"/", place + 1)


def _files(folder: int, prefix: bytes, depth: int, above: Ignored | None) -> Iterator[bytes]:
    """Give every file that is not ignored, a symlink included, never through one."""
    opened = os.open(b".", _FOLDER, dir_fd=folder)
    try:
        ignored = Ignored(above, prefix, opened)
        for name in sorted(os.fsencode(item.name) for item in os.scandir(opened)):
            path = prefix + name
            is_folder = stat.S_ISDIR(os.stat(name, dir_fd=opened, follow_symlinks=False).st_mode)
            if name == b".git" or ignored.has(path, is_folder=is_folder):
                continue
            if not is_folder:
                yield path
            elif depth < MAX_DEPTH:
                inner = os.open(name, _FOLDER, dir_fd=opened)
                try:
                    yield from _files(inner, path + b"/", depth + 1, ignored)
                finally:
                    os.close(inner)
    finally:
        os.close(opened)


def diff(repository: Repository, arguments: Arguments) -> Iterator[Object]:
    """Give each change: of the files, of the index (`staged`), or between one revision and another."""
    paths = _paths(arguments)
    revision, to = _text(arguments, "revision"), _text(arguments, "to")
    if revision and b".." in revision and not to:
        revision, _, to = revision.partition(b"..")
        to = to.lstrip(b".") or b"HEAD"
    if revision:
        new = repository.commit(to or b"HEAD").tree
        found = changes.of_trees(repository, repository.commit(revision).tree, new, paths)
    elif arguments.flag("staged"):
        found = changes.of_index(repository, paths)
    else:
        found = changes.of_files(repository, paths)
    for path, old, now in found:
        yield changes.entry_of(path, old, now)


def log(repository: Repository, arguments: Arguments) -> Iterator[Object]:
    """Give commits, the newest first."""
    revision = _text(arguments, "revision") or b"HEAD"
    since, dots, until = revision.rpartition(b"..")
    walker = Walker(
        repository.store,
        include=[repository.commit((until or b"HEAD") if dots else revision).id],
        exclude=[repository.commit(since).id] if dots and since else [],
        max_entries=arguments.number("limit", default=20, least=1, most=MAX_COMMITS),
        paths=_paths(arguments) or None,
        get_parents=repository.parents,
    )
    for entry in walker:
        yield _commit(repository, entry.commit)


def show(repository: Repository, arguments: Arguments) -> Iterator[Object]:
    """Give a commit and its changes against its first parent; or, with `file`, that file as it was."""
    commit = repository.commit(_text(arguments, "revision") or b"HEAD")
    if path := _text(arguments, "file"):
        yield _content(repository, commit, path)
        return
    yield _commit(repository, commit)
    parents = repository.parents(commit)
    old = repository.commit(parents[0]).tree if parents else None
    for name, before, after in changes.of_trees(repository, old, commit.tree, _paths(arguments)):
        yield changes.entry_of(name, before, after)


def _content(repository: Repository, commit: Commit, path: bytes) -> Object:
    found = repository.entry(commit, path)
    if isinstance(found, Tree):
        names = [item.path + (b"/" if stat.S_ISDIR(item.mode) else b"") for item in found.items()]
        return {
            "kind": "folder",
            **name_of(path),
            **text_of(b"".join(name + b"\n" for name in names)),
        }
    if not isinstance(found, Blob) or len(found.data) > changes.MAX_FILE_BYTES // 2:
        raise RefusedError("limit", f"`{shown(path)}` is too large to show")
    return {"kind": "content", **name_of(path), **text_of(found.data)}


def blame(repository: Repository, arguments: Arguments) -> Iterator[Object]:
    """Give each line of a file with the commit that it came with; renames are not followed."""
    (path,) = _paths(arguments) or [b""]
    commit = repository.commit(_text(arguments, "revision") or b"HEAD")
    if not isinstance(repository.entry(commit, path), Blob):
        raise RefusedError("is-folder", f"`{shown(path)}` is a folder; expected a file")
    first = arguments.number("first", default=1, least=1, most=1 << 40)
    last = arguments.number("last", default=1 << 40, least=first, most=1 << 40)
    for number, (made, line) in enumerate(_annotated(repository, commit, path), start=1):
        if first <= number <= last:
            yield {"kind": "blame", "line": number, **_short(made), **text_of(line)}


def _annotated(repository: Repository, commit: Commit, path: bytes) -> Iterator[tuple[Commit, bytes]]:
    walker = Walker(repository.store, include=[commit.id], paths=[path], get_parents=repository.parents)
    versions: list[tuple[Commit, Blob]] = []
    for step in walker:
        try:
            found = repository.entry(step.commit, path)
        except RefusedError:
            break  # it was not there yet, or once before
        if not isinstance(found, Blob):
            break
        if len(found.data) > MAX_BLAME_BYTES:
            raise RefusedError("limit", f"`{shown(path)}` is longer than `{MAX_BLAME_BYTES}` bytes")
        versions.append((step.commit, found))
    lines: list[tuple[tuple[Commit, TreeEntry], bytes]] = []
    for made, blob in reversed(versions):
        lines = update_lines(lines, (made, _NO_ENTRY), blob)
    for (made, _), line in lines:
        yield made, line


def _commit(repository: Repository, commit: Commit) -> Object:
    parents: list[ObjectID] = repository.parents(commit)
    return {
        "kind": "commit",
        "commit": commit.id.decode(),
        "parents": [parent.decode() for parent in parents],
        "author": commit.author.decode("utf-8", "replace"),
        "seconds": int(commit.author_time),
        "offset": int(commit.author_timezone),
        **text_of(commit.message),
    }


def _short(commit: Commit) -> Object:
    return {
        "commit": commit.id.decode()[:10],
        "author": commit.author.partition(b" <")[0].decode("utf-8", "replace"),
        "seconds": int(commit.author_time),
    }


def _paths(arguments: Arguments) -> list[bytes]:
    return [path.strip("/").encode() for path in arguments.texts("paths") if path.strip("/") not in ("", ".")]


def _text(arguments: Arguments, name: str) -> bytes:
    found = arguments.texts(name)
    return found[0].encode() if found else b""


READS: dict[str, Callable[[Repository, Arguments], Iterator[Object]]] = {
    "status": status,
    "diff": diff,
    "log": log,
    "show": show,
    "blame": blame,
}
