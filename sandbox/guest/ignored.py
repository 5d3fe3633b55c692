"""Say what `.gitignore` files leave out, so that a search does not drown in what was built or installed.

A convenience of the walk, not a protection: an ignored file can be read by its name. The form is git's:
https://git-scm.com/docs/gitignore#_pattern_format
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

MAX_BYTES = 256 * 1024
MAX_PATTERNS = 5000
_NAME = b".gitignore"


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
        self._rules = [rule for rule in map(_rule, _lines(folder)) if rule is not None]

    def has(self, path: bytes, *, is_folder: bool) -> bool:
        """Tell whether an entry of this folder is left out; the last rule that fits decides."""
        rules: Ignored | None = self
        while rules is not None:
            below = os.fsdecode(path[rules._start :])  # noqa: SLF001 (another of this class)
            for expression, folders_only, leaves_out in reversed(rules._rules):  # noqa: SLF001 (the same)
                if (is_folder or not folders_only) and expression.fullmatch(below):
                    return leaves_out
            rules = rules._above  # noqa: SLF001 (the same)
        return False


def content_of(folder: int) -> bytes:
    """Return what a folder's `.gitignore` holds, as far as it is read; of no regular file nothing."""
    try:
        descriptor = os.open(_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    try:
        return os.read(descriptor, MAX_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _lines(folder: int) -> list[bytes]:
    return content_of(folder).split(b"\n")[:MAX_PATTERNS]


def _rule(line: bytes) -> tuple[re.Pattern[str], bool, bool] | None:
    """Return a rule's expression, whether it is for folders only, and whether it leaves out or takes back."""
    import re  # noqa: PLC0415 (a third of the guest's start; only a search needs it)

    text = os.fsdecode(line.removesuffix(b"\r"))
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    leaves_out = not text.startswith("!")
    text = text.removeprefix("!").removeprefix("\\") if text[0] in "!\\" else text
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    text = text.removeprefix("/")
    if not text:
        return None
    try:
        expression = re.compile(("" if anchored else "(?:.*/)?") + _expression(text), re.DOTALL)
    except re.error:
        return None
    return expression, folders_only, leaves_out


def _expression(text: str) -> str:
    """Write a pattern as a regular expression over paths below the folder of its file."""
    *folders, name = text.split("/")
    runs = [""]
    for folder in folders:
        if folder == "**":
            runs.append("(?:[^/]+/)*?")
        else:
            runs[-1] += _part(folder) + "/"
    if name == "**":
        return _settled(runs) + ".+"
    return _settled(runs[:-1]) + runs[-1] + _part(name)


def _settled(runs: list[str]) -> str:
    """Join what stands before a star (or `**`) that takes anything.

    The first place where each fits is as good as any later one, so none is looked for again (an atomic
    group): with a number of stars, a hostile pattern would take for ever.
    """
    return "".join(f"(?>{run})" for run in runs)


def _part(part: str) -> str:
    """Write what stands between two slashes."""
    runs = [""]
    place = 0
    while place < len(part):
        if part[place] == "*":
            runs.append("[^/]*?")
            place += len(part[place:]) - len(part[place:].lstrip("*"))
            continue
        piece, place = _piece(part, place)
        runs[-1] += piece
    if part.endswith("*") and runs[-1] == "[^/]*?":
        runs[-1] = "[^/]*"
    return _settled(runs[:-1]) + runs[-1]


def _piece(part: str, place: int) -> tuple[str, int]:
    """Return the next piece of a name's pattern, one character, as an expression, and where it ends."""
    import re  # noqa: PLC0415 (the same)

    character = part[place]
    if character == "?":
        return "[^/]", place + 1
    if character == "\\" and place + 1 < len(part):
        return re.escape(part[place + 1]), place + 2
    end = part.find("]", place + 2) if character == "[" else -1
    if end > 0:
        return f"(?!/)[{_class(part[place + 1 : end])}]", end + 1
    return re.escape(character), place + 1


def _class(inside: str) -> str:
    """Write what stands in brackets; Python's signs for sets within sets are ordinary ones to git."""
    import re  # noqa: PLC0415 (the same)

    inverted = inside[0] in "!^"
    escaped = re.sub(r"[\\\[&|~]|-(?=-)", r"\\\g<0>", inside[1:] if inverted else inside)
    return f"^{escaped}" if inverted else escaped
