"""Say what `.gitignore` files leave out, so that a search does not drown in what was built or installed.

A convenience of the walk, not a protection: an ignored file can be read by its name. The form is git's:
https://git-scm.com/docs/gitignore#_pattern_format
"""

from __future__ import annotations

import os
import stat

from . import wildmatch
from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

    from .beneath import Beneath

MAX_LINE_BYTES = 1024
"""A longer line is no rule: what it takes to compile one grows with its square."""
MAX_BYTES = 512 * 1024
MAX_LINES = 20_000
"""Of all the ignore files that one walk comes by; beyond, nothing more is left out."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
_NAME = b".gitignore"
_MARK = b"\xef\xbb\xbf"
"""A byte order mark, which git passes over."""


class _Budget:
    """What one walk may still read and compile: the workspace says how much there is."""

    def __init__(self) -> None:
        self._bytes = MAX_BYTES
        self._lines = MAX_LINES

    def lines(self, folder: int) -> list[bytes]:
        """Return the lines of a folder's ignore file, as far as they may be had; none that is cut off."""
        content = _content_of(folder, self._bytes)
        if len(content) == self._bytes:
            content = content[: content.rfind(b"\n") + 1]
            self._bytes = 0
        self._bytes -= min(len(content), self._bytes)
        found = content.removeprefix(_MARK).split(b"\n")[: self._lines] if content else []
        self._lines -= len(found)
        return found


class Ignored:
    """The rules that hold in one folder: those of the folders above, and its own.

    Args:
        above: the rules of the folder above; None at the top.
        prefix: the folder's path, empty or ending in a slash.
        folder: an open descriptor of it.
    """

    def __init__(self, above: Ignored | None, prefix: bytes, folder: int) -> None:
        self._above = above
        self._start = len(prefix)
        self.budget: _Budget = _Budget() if above is None else above.budget
        self._rules = [rule for rule in map(_rule, self.budget.lines(folder)) if rule is not None]

    def has(self, path: bytes, *, is_folder: bool) -> bool:
        """Tell whether an entry of this folder is left out; the last rule that fits decides."""
        rules: Ignored | None = self
        while rules is not None:
            below = path[rules._start :].decode("latin-1")  # noqa: SLF001 (another of this class)
            for expression, folders_only, leaves_out in reversed(rules._rules):  # noqa: SLF001 (the same)
                if (is_folder or not folders_only) and expression.fullmatch(below):
                    return leaves_out
            rules = rules._above  # noqa: SLF001 (the same)
        return False


def of_folders_above(beneath: Beneath, path: bytes) -> tuple[Ignored | None, bytes]:
    """Return the rules that folders above a path give to what is in it, and what comes before each name."""
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    prefixes = [b"".join(name + b"/" for name in names[:depth]) for depth in range(len(names) + 1)]
    rules: Ignored | None = None
    for prefix in prefixes[:-1] if b".." not in names else ():
        try:
            folder = beneath.open(prefix or b".", _FOLDER)
        except RefusedError:
            continue  # what can be entered and not read gives no rules
        try:
            rules = Ignored(rules, prefix, folder)
        finally:
            os.close(folder)
    return rules, prefixes[-1]


def _content_of(folder: int, most: int) -> bytes:
    """Return what a folder's `.gitignore` holds, as far as it is read; of no regular file nothing."""
    try:
        descriptor = os.open(_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    try:
        return os.read(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _rule(line: bytes) -> tuple[re.Pattern[str], bool, bool] | None:
    """Return a rule's expression, whether it is for folders only, and whether it leaves out or takes back."""
    if line.startswith(b"#") or len(line) > MAX_LINE_BYTES:
        return None
    text = _trimmed(line.removesuffix(b"\r").partition(b"\0")[0]).decode("latin-1")
    leaves_out = not text.startswith("!")
    text = text.removeprefix("!")
    folders_only = text.endswith("/")
    text = text.removesuffix("/")
    anywhere = "/" not in text
    text = text.removeprefix("/")
    expression = wildmatch.compiled(text, anywhere=anywhere) if text else None
    return None if expression is None else (expression, folders_only, leaves_out)


def _trimmed(line: bytes) -> bytes:
    """Take the spaces off the end, but for one behind a backslash that is not itself behind one."""
    bare = line.rstrip(b" ")
    backslashes = len(bare) - len(bare.rstrip(b"\\"))
    return line[: len(bare) + 1] if backslashes % 2 else bare
