r"""List a folder as JSON lines, sorted by name. Symlinks are named, not followed; ignore files may count.

A name that is not UTF-8 is given twice: `path` for the eye, with its bad bytes as `\\xNN`, and `path_base64`,
which every operation takes in place of `path`.
"""

from __future__ import annotations

import binascii
import os
import stat

from .arguments import Arguments
from .beneath import Beneath, kind_of, shown
from .ignored import Ignored, of_folders_above
from .objects import encode_object
from .refusal import from_os_error
from .task import CHUNK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .objects import Object
    from .task import Task

MAX_DEPTH = 64
MAX_ENTRIES = 100_000
_DEFAULT_ENTRIES = 1000
_ARGUMENTS = frozenset({"path", "path_base64", "depth", "limit", "ignore", "timeout_seconds"})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC


def listing(task: Task, beneath: Beneath) -> Object:
    """Send a line for each entry, down to `depth` folders below the path and up to `limit` lines."""
    arguments = Arguments(task.values, _ARGUMENTS)
    path = arguments.path()
    depth = arguments.number("depth", default=1, least=1, most=MAX_DEPTH)
    limit = arguments.number("limit", default=_DEFAULT_ENTRIES, least=1, most=MAX_ENTRIES)
    try:
        tally = Tally(*of_folders_above(beneath, path)) if arguments.flag("ignore") else None
        entries, truncated = _send(task, walk(beneath.open(path, _FOLDER), b"", depth, tally), limit)
    except OSError as error:
        raise from_os_error(error, shown(path)) from error
    return {"entries": entries, "truncated": truncated, "ignored": tally.left_out if tally else 0}


def _send(task: Task, entries: Iterator[Object], limit: int) -> tuple[int, bool]:
    lines: list[bytes] = []
    held = count = 0
    for entry in entries:
        if count == limit:
            task.send_body(b"".join(lines))
            return count, True
        count += 1
        line = encode_object(entry) + b"\n"
        if held + len(line) > CHUNK_BYTES:
            task.send_body(b"".join(lines))
            lines, held = [], 0
        lines.append(line)
        held += len(line)
    task.send_body(b"".join(lines))
    return count, False


class Tally:
    """Count what ignore files leave out.

    Args:
        above: the rules of the folders above the one that is listed.
        place: what comes before each of its names to those rules, empty or ending in a slash.
    """

    def __init__(self, above: Ignored | None, place: bytes) -> None:
        self.above = above
        self.place = place
        self.left_out = 0

    def leaves_out(self, rules: Ignored, path: bytes, *, is_folder: bool) -> bool:
        """Say whether an entry is left out, and count it then."""
        found = rules.has(self.place + path, is_folder=is_folder)
        self.left_out += found
        return found


def walk(
    folder: int, prefix: bytes, depth: int, tally: Tally | None = None, above: Ignored | None = None
) -> Iterator[Object]:
    """Describe what is in `folder`, which is closed at the end.

    Args:
        folder: an open descriptor.
        prefix: what comes before each name, empty or ending in a slash.
        depth: how many folders deep; at least 1.
        tally: where to count what `.gitignore` files leave out; None leaves nothing out.
        above: the rules of the folder above; None at the top.
    """
    try:
        ignored = None if tally is None else Ignored(above or tally.above, tally.place + prefix, folder)
        for name in _names(folder):
            try:
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed since the folder was read
            is_folder = stat.S_ISDIR(facts.st_mode)
            if tally and ignored and tally.leaves_out(ignored, prefix + name, is_folder=is_folder):
                continue
            yield _entry(folder, prefix, name, facts)
            if depth > 1 and is_folder and (tally is None or name != b".git"):
                inner = _inner(folder, name)
                if inner is not None:
                    yield from walk(inner, prefix + name + b"/", depth - 1, tally, ignored)
    finally:
        os.close(folder)


def _inner(folder: int, name: bytes) -> int | None:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return None  # not ours to read, or swapped for something else: its own line has been sent


def _names(folder: int) -> list[bytes]:
    return sorted(os.fsencode(item.name) for item in os.scandir(folder))


def _entry(folder: int, prefix: bytes, name: bytes, facts: os.stat_result) -> Object:
    entry: Object = {
        **name_of(prefix + name),
        "kind": kind_of(facts.st_mode),
        "bytes": facts.st_size,
        "mode": stat.S_IMODE(facts.st_mode),
    }
    if stat.S_ISLNK(facts.st_mode):
        try:
            entry["target"] = os.readlink(name, dir_fd=folder).decode("utf-8", "backslashreplace")
        except OSError:
            entry["target"] = ""
    return entry


def name_of(path: bytes) -> Object:
    """Return a path in the forms that JSON can carry."""
    try:
        return {"path": path.decode("utf-8")}
    except UnicodeDecodeError:
        encoded = binascii.b2a_base64(path, newline=False).decode("ascii")
        return {"path": path.decode("utf-8", "backslashreplace"), "path_base64": encoded}
