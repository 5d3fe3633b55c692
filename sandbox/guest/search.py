"""Search the files below a folder for a pattern: bounded in time, in matches and in memory.

The pattern is the agent's, and may backtrack for ever: a timer interrupts it, and PID 1 kills the worker if
that does not help. `.git` and symlinks are passed over; what else is not searched (what `.gitignore` files
leave out, binaries, what cannot be read or lies too deep, the rest of a very long line) is counted and told.
"""

from __future__ import annotations

import errno
import os
import stat

from .arguments import Arguments
from .beneath import Beneath, shown
from .files import open_file
from .ignored import Ignored, of_folders_above
from .listing import name_of
from .objects import encode_object
from .refusal import RefusedError, from_os_error
from .task import CHUNK_BYTES
from .text import text_of
from .timer import Timer, TimeUp

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from .objects import Object
    from .task import Task

MAX_MATCHES = 5000
MAX_CONTEXT = 50
MAX_SECONDS = 60.0
MAX_PATTERN_CHARACTERS = 4096
LINE_BYTES = 1 << 20
SHOWN_BYTES = 2000
MAX_DEPTH = 256
_LOOKED_AT_BYTES = 8192
_BLOCK_BYTES = 1 << 18
_FLAGS = ("literal", "ignore_case", "everything")
_NUMBERS = ("context", "limit", "seconds")
_ARGUMENTS = frozenset({"path", "path_base64", "pattern", "names", *_FLAGS, *_NUMBERS, "timeout_seconds"})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class _Enough(Exception):  # noqa: N818 (the same)
    """Raised when as many matches were found as are wanted."""


def search(task: Task, beneath: Beneath) -> Object:
    """Send a line for each match and for its context; the result says where the search stopped, and why."""
    arguments = Arguments(task.values, _ARGUMENTS)
    path = arguments.path()
    seconds = arguments.seconds("seconds", default=10.0, most=MAX_SECONDS)
    timer = Timer(seconds)
    hunt = _Hunt(task, arguments, timer)
    ended = "done"
    try:
        timer.start()
        hunt.start(beneath, path)
        timer.stop()
    except TimeUp:
        ended = "time"
    except _Enough:
        ended = "limit"
    except OSError as error:
        raise from_os_error(error, shown(path)) from error
    finally:
        timer.stop()
    hunt.flush()
    return {
        "ended": ended,
        "matches": hunt.matches,
        "files": hunt.files,
        "binary": hunt.binary,
        "unread": hunt.unread,
        "ignored": hunt.ignored,
        "long_lines": hunt.long_lines,
        **name_of(hunt.at),
    }


class _Hunt:
    """One search."""

    def __init__(self, task: Task, arguments: Arguments, timer: Timer) -> None:
        self._task = task
        self._timer = timer
        self._context = arguments.number("context", default=0, most=MAX_CONTEXT)
        self._limit = arguments.number("limit", default=200, least=1, most=MAX_MATCHES)
        self._everything = arguments.flag("everything")
        self._names = _expressions(arguments.texts("names"))
        self._pattern = _pattern(arguments)
        self._lines: list[bytes] = []
        self._held = 0
        self.matches = 0
        self.files = 0
        self.binary = 0
        self.unread = 0
        self.ignored = 0
        self.long_lines = 0
        self.at = b"."

    def start(self, beneath: Beneath, path: bytes) -> None:
        """Search a file, or every file below a folder."""
        looked_at = beneath.open(path, os.O_PATH)
        try:
            is_folder = stat.S_ISDIR(os.fstat(looked_at).st_mode)
        finally:
            os.close(looked_at)
        if is_folder:
            above, prefix = of_folders_above(beneath, path)
            self._folder(beneath.open(path, _FOLDER), prefix, 0, above)
        else:
            self._file(open_file(beneath, path), path)

    def _folder(self, folder: int, prefix: bytes, depth: int, above: Ignored | None) -> None:
        try:
            ignored = None if self._everything else Ignored(above, prefix, folder)
            for name in sorted(os.fsencode(item.name) for item in os.scandir(folder)):
                try:
                    self._entry(folder, name, prefix + name, depth, ignored)
                except OSError as error:  # removed since, swapped for something else, or not ours to read
                    self.unread += error.errno != errno.ENOENT
        finally:
            os.close(folder)

    def _entry(self, folder: int, name: bytes, path: bytes, depth: int, ignored: Ignored | None) -> None:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if ignored is not None and ignored.has(path, is_folder=stat.S_ISDIR(mode)):
            self.ignored += name != b".git" and (stat.S_ISDIR(mode) or self._is_wanted(name, path))
            return
        if stat.S_ISDIR(mode):
            if depth >= MAX_DEPTH:
                self.unread += 1
            elif name != b".git":
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                self._folder(inner, path + b"/", depth + 1, ignored)
        elif stat.S_ISREG(mode) and self._is_wanted(name, path):
            descriptor = os.open(name, _FILE, dir_fd=folder)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._file(descriptor, path)
            else:
                os.close(descriptor)

    def _is_wanted(self, name: bytes, path: bytes) -> bool:
        """Say whether a file is meant: a pattern with a slash is held against the whole path."""
        return not self._names or any(
            expression.fullmatch(os.fsdecode(path if whole else name)) for expression, whole in self._names
        )

    def _file(self, descriptor: int, path: bytes) -> None:
        self.at = path
        try:
            if b"\0" in os.pread(descriptor, _LOOKED_AT_BYTES, 0):
                self.binary += 1
            else:
                self.files += 1
                self._search(descriptor, path)
        finally:
            os.close(descriptor)

    def _search(self, descriptor: int, path: bytes) -> None:
        before: list[tuple[int, bytes]] = []
        after = 0
        matches = self._pattern.search
        for number, raw in enumerate(self._lines_of(descriptor), start=1):
            if matches(raw.decode("utf-8", "surrogateescape")):
                for earlier in before:
                    self._send(path, *earlier, match=False)
                before.clear()
                self._send(path, number, raw, match=True)
                after = self._context
                self._count()
            elif after:
                after -= 1
                self._send(path, number, raw, match=False)
            elif self._context:
                before.append((number, raw))
                del before[: -self._context]

    def _lines_of(self, descriptor: int) -> Iterator[bytes]:
        """Give a file's lines without their ends; of a very long one the first `LINE_BYTES` only."""
        rest, skipping = b"", False
        while block := os.read(descriptor, _BLOCK_BYTES):
            *whole, last = block.split(b"\n")
            if whole:
                if not skipping:
                    yield rest + whole[0]
                yield from whole[1:]
                rest, skipping = b"", False
            if not skipping:
                rest += last
                if len(rest) > LINE_BYTES:
                    self.long_lines += 1
                    yield rest[:LINE_BYTES]
                    rest, skipping = b"", True
        if rest and not skipping:
            yield rest

    def _count(self) -> None:
        self.matches += 1
        if self.matches >= self._limit:
            raise _Enough

    def _send(self, path: bytes, number: int, raw: bytes, *, match: bool) -> None:
        cut = len(raw) > SHOWN_BYTES
        entry: Object = {**name_of(path), "line": number, "match": match, "cut": cut}
        line = encode_object({**entry, **text_of(raw[:SHOWN_BYTES])})
        self._lines.append(line + b"\n")
        self._held += len(line) + 1
        if self._held > CHUNK_BYTES // 2:
            self.flush()

    def flush(self) -> None:
        """Send what was found and not sent yet."""
        self._timer.holding = True
        found, self._lines, self._held = b"".join(self._lines), [], 0
        for start in range(0, len(found), CHUNK_BYTES):
            self._task.send_body(found[start : start + CHUNK_BYTES])
        self._timer.holding = False


def _pattern(arguments: Arguments) -> re.Pattern[str]:
    import re  # noqa: PLC0415 (a third of the guest's start; only this operation needs it)

    text = arguments.text("pattern")
    if not text or len(text) > MAX_PATTERN_CHARACTERS:
        raise RefusedError("pattern", f"a pattern has 1 to {MAX_PATTERN_CHARACTERS} characters")
    flags = re.IGNORECASE if arguments.flag("ignore_case") else 0
    try:
        return re.compile(re.escape(text) if arguments.flag("literal") else text, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise RefusedError("pattern", f"not a regular expression: {error}") from error


def _expressions(names: list[str]) -> list[tuple[re.Pattern[str], bool]]:
    if not names:
        return []
    import fnmatch  # noqa: PLC0415 (the same)
    import re  # noqa: PLC0415 (the same)

    return [(re.compile(fnmatch.translate(name)), "/" in name) for name in names]
