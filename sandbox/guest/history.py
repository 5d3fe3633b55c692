"""Answer git's questions, one function for each: status, diff, log, show, blame."""

from __future__ import annotations

import os
import stat

from dulwich.objects import Blob, Tree
from dulwich.walk import Walker

from . import changes
from .beneath import shown
from .blame import Blame, Version
from .ignored import Ignored
from .listing import name_of
from .refusal import RefusedError
from .text import text_of
from .timer import TimeUp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dulwich.objects import Commit, ObjectID

    from .arguments import Arguments
    from .objects import Object
    from .repository import Repository

MAX_COMMITS = 1000
MAX_UNTRACKED = 10_000
MAX_DEPTH = 64
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
        is_same = entry is not None and old == (entry.mode, entry.sha)
        staged = " " if is_same else changes.letter(old[0] if old else 0, entry.mode if entry else 0)
        now = changes.file_now(repository.beneath, path, entry, written) if entry else None
        work = changes.letter(entry.mode, now.mode) if entry and now else " "
        if staged + work != "  ":
            yield {"kind": "status", "letters": staged + work, **name_of(path)}
    yield from _untracked(repository, set(entries) | set(conflicts), paths)


def _untracked(repository: Repository, known: set[bytes], paths: list[bytes]) -> Iterator[Object]:
    """Give files that git does not know; a folder without any known file is one entry, as in git."""
    folders = {path[:end] for path in known for end in _slashes(path)}
    shown = b"\0"
    count = 0
    for path in files_below(repository.beneath.root, b"."):
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


def files_below(
    above: int, folder: bytes, prefix: bytes = b"", depth: int = 0, rules: Ignored | None = None
) -> Iterator[bytes]:
    """Give every file that is not ignored, a symlink included, never through one.

    What cannot be read, or is gone or another since its name was read, is passed over, as by git.

    Args:
        above: a descriptor of the folder's folder.
        folder: its name.
        prefix: what comes before each name, empty or ending in a slash.
        depth: how many folders lie above it.
        rules: those of the folder above; None at the top.
    """
    try:
        opened = os.open(folder, _FOLDER, dir_fd=above)
    except OSError:
        return
    try:
        ignored = Ignored(rules, prefix, opened)
        for name, is_folder in _named(opened):
            path = prefix + name
            if name == b".git" or ignored.has(path, is_folder=is_folder):
                continue
            if not is_folder:
                yield path
            elif depth < MAX_DEPTH:
                yield from files_below(opened, name, path + b"/", depth + 1, ignored)
    finally:
        os.close(opened)


def _named(folder: int) -> Iterator[tuple[bytes, bool]]:
    """Give each name in a folder, and whether it is a folder's."""
    try:
        names = sorted(os.fsencode(item.name) for item in os.scandir(folder))
    except OSError:
        return
    for name in names:
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except OSError:
            continue
        yield name, stat.S_ISDIR(mode)


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
    """Give each line of a file with the commit that it came with; when time is up, those found until then."""
    (path,) = _paths(arguments) or [b""]
    commit = repository.commit(_text(arguments, "revision") or b"HEAD")
    first = arguments.number("first", default=1, least=1, most=1 << 40)
    last = arguments.number("last", default=1 << 40, least=first, most=1 << 40)
    version = Version(repository, commit, path)
    asked = range(len(version.lines))[first - 1 : last]
    walk = Blame(repository, version, asked)
    try:
        walk.go()
    except TimeUp:
        yield from _blamed(version, walk.found)
        raise
    yield from _blamed(version, walk.found)


def _blamed(version: Version, found: dict[int, Commit]) -> Iterator[Object]:
    for number in sorted(found):
        yield {
            "kind": "blame",
            "line": number + 1,
            **_short(found[number]),
            **text_of(version.lines[number]),
        }


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
