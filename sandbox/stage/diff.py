"""Render changes as a unified diff that `git apply` accepts; nothing is escaped for a terminal.

Names are quoted as git quotes them, binary content is a `GIT binary patch`, renames are by content. What git
has no words for (empty folders, folder modes, special files) is left out and said.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import zlib
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, TypeAlias

from sandbox.stage.beneath import parents_of
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.opened import content_of
from sandbox.stage.sides import EntryKind
from sandbox.stage.upper import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sandbox.stage.changes import Change
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.sides import Side

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""Longest file that is shown; a longer one is told, not shown."""
MAX_PATCH_BYTES: Final = 256 * 1024 * 1024
"""Longest patch; changes beyond it are told, not shown."""
MAX_COMPARED_LINES: Final = 20_000
"""Most lines, both sides together, that are compared line by line; beyond it the whole file is one hunk."""
MAX_REPEATS: Final = 4_000_000
"""Most pairs of equal lines that are compared; a file of one line repeated must not stall the reader."""
CONTEXT_LINES: Final = 3
Operation: TypeAlias = tuple[str, int, int, int, int]
"""As difflib has it: what to do, and the lines of the old and the new content that it concerns."""
_NO_OBJECT: Final = "0" * 40
_BINARY_PROBE_BYTES: Final = 8000
"""git takes content with a NUL in its first 8,000 bytes for binary (xdiff-interface.c)."""
_ESCAPES: Final = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A patch, and what it does not hold."""

    text: bytes
    """The patch; empty when nothing can be shown."""
    left_out: tuple[Trouble, ...]
    """Changes that the patch does not hold, and why."""


@dataclass(frozen=True, slots=True)
class _File:
    """One side of a change, as git sees it."""

    mode: str
    content: bytes

    @property
    def object(self) -> str:
        head = b"blob %d\0" % len(self.content)
        return hashlib.sha1(head + self.content, usedforsecurity=False).hexdigest()


class _NotShownError(Exception):
    """Raised when a side of a change has no form in a patch; the text says why."""


def render_diff(
    stage: OpenStage, changes: Sequence[Change], *, aside: Callable[[Change], str] = lambda _: ""
) -> Diff:
    """Render changes as a patch against the workspace as the session found it.

    Args:
        stage: The stage.
        changes: What is to be shown.
        aside: Why a change is shown and must not be applied with the others; empty for what may be. Such a
            one stands in the patch as a comment, which git skips.
    """
    aside_of = {change.path: aside(change) for change in changes}
    folders = {parent for change in changes for parent in parents_of(change.path)}
    parts: list[bytes] = []
    left_out: list[Trouble] = []
    left = MAX_PATCH_BYTES
    for change in changes:
        if _together(change, change.renamed_to, aside_of) or (change.is_folder and change.path in folders):
            continue
        try:
            whole = _together(change, change.renamed_from, aside_of)
            part = _rename(change) if whole else b"".join(_patch(stage, change))
        except (_NotShownError, PathRefusedError) as error:
            reason = error.reason if isinstance(error, PathRefusedError) else str(error)
            left_out.append(Trouble(change.path, reason))
            continue
        if why := aside_of[change.path]:
            part = _commented(why, part)
        if len(part) > left:
            left_out.append(Trouble(change.path, f"the patch would exceed {MAX_PATCH_BYTES // 2**20} MiB"))
            continue
        left -= len(part)
        parts.append(part)
    return Diff(text=b"".join(parts), left_out=tuple(left_out))


def _together(change: Change, other: str, aside_of: Mapping[str, str]) -> bool:
    """Tell whether a change and another path are shown as one rename."""
    return aside_of.get(other) == aside_of[change.path] == ""


def _commented(why: str, part: bytes) -> bytes:
    lines = [f"not applied with the rest: {why}".encode(), *part.removesuffix(b"\n").split(b"\n")]
    return b"".join(b"# " + line + b"\n" for line in lines)


def _rename(change: Change) -> bytes:
    if change.after is None or change.before is not None:
        raise _NotShownError("it is no rename")
    old, new = change.renamed_from, change.path
    lines = [
        _header(old, new),
        "similarity index 100%",
        f"rename from {_name(old)}",
        f"rename to {_name(new)}",
    ]
    return _encode("\n".join(lines) + "\n")


def _patch(stage: OpenStage, change: Change) -> Iterator[bytes]:
    """Yield the parts of one change's patch; a change of type is a deletion and an addition, as in git."""
    before = _file(stage, change, change.before, old=True)
    after = _file(stage, change, change.after, old=False)
    if before is None and after is None:
        raise _NotShownError("a patch has no form for a folder")
    if before and after and before.mode[:3] != after.mode[:3]:
        yield from _one(change.path, before, None)
        yield from _one(change.path, None, after)
    else:
        yield from _one(change.path, before, after)


def _file(stage: OpenStage, change: Change, side: Side | None, *, old: bool) -> _File | None:
    if side is None or side.kind is EntryKind.FOLDER:
        return None
    if side.kind is EntryKind.SPECIAL:
        raise _NotShownError("it is a device, socket or pipe")
    if side.kind is EntryKind.SYMLINK:
        return _File("120000", os.fsencode(side.target))
    source = stage.base_source(change.path) if old else stage.upper
    if source is None:
        raise _NotShownError("the user changed it meanwhile, and its old content is gone")
    content = content_of(source, change.path, MAX_FILE_BYTES)
    if content is None:
        raise _NotShownError(f"it is longer than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    return _File("100755" if side.mode & 0o100 else "100644", content)


def _one(path: str, before: _File | None, after: _File | None) -> Iterator[bytes]:
    if before == after:
        raise _NotShownError("git keeps only the executable bit of a mode, and that is the same")
    yield _encode("\n".join(_heading(path, before, after)) + "\n")
    old, new = before.content if before else b"", after.content if after else b""
    if old == new:
        return
    if is_binary(old) or is_binary(new):
        yield from _binary(old, new)
    else:
        names = _name("a/" + path) if before else "/dev/null", _name("b/" + path) if after else "/dev/null"
        yield _encode(f"--- {names[0]}{_tab(names[0])}\n+++ {names[1]}{_tab(names[1])}\n")
        yield from _hunks(lines_of(old), lines_of(new))


def _heading(path: str, before: _File | None, after: _File | None) -> Iterator[str]:
    yield _header(path, path)
    if before is None and after is not None:
        yield f"new file mode {after.mode}"
    elif after is None and before is not None:
        yield f"deleted file mode {before.mode}"
    elif before and after and before.mode != after.mode:
        yield f"old mode {before.mode}"
        yield f"new mode {after.mode}"
    old, new = before.object if before else _NO_OBJECT, after.object if after else _NO_OBJECT
    if old != new:
        same_mode = f" {after.mode}" if before and after and before.mode == after.mode else ""
        yield f"index {old}..{new}{same_mode}"


def is_binary(content: bytes) -> bool:
    """Tell whether git takes content for binary."""
    return b"\0" in content[:_BINARY_PROBE_BYTES]


def lines_of(content: bytes) -> list[bytes]:
    """Split after each newline, and nowhere else (`splitlines` would split at form feeds too)."""
    return re.findall(rb"[^\n]*\n|[^\n]+$", content)


def _hunks(old: list[bytes], new: list[bytes]) -> Iterator[bytes]:
    for group in hunk_groups(old, new):
        yield from hunk_text(group, old, new)


def hunk_text(group: list[Operation], old: list[bytes], new: list[bytes]) -> Iterator[bytes]:
    """Yield one hunk in the form of a unified diff, its `@@` line first."""
    (_, a1, _, b1, _), (_, _, a2, _, b2) = group[0], group[-1]
    yield _encode(f"@@ -{_span(a1, a2)} +{_span(b1, b2)} @@\n")
    for tag, i1, i2, j1, j2 in group:
        if tag == "equal":
            yield from (_line(b" ", line) for line in old[i1:i2])
            continue
        yield from (_line(b"-", line) for line in old[i1:i2])
        yield from (_line(b"+", line) for line in new[j1:j2])


def hunk_groups(old: list[bytes], new: list[bytes]) -> Iterator[list[Operation]]:
    """Yield groups of operations; a comparison that could take for ever is one replacement."""
    if len(old) + len(new) > MAX_COMPARED_LINES or _repeats(old, new) > MAX_REPEATS:
        yield [("replace", 0, len(old), 0, len(new))]
        return
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(CONTEXT_LINES):
        yield list(group)


def _repeats(old: list[bytes], new: list[bytes]) -> int:
    """Return how many pairs of equal lines there are: what the comparison's time grows with."""
    counts: dict[bytes, int] = {}
    for line in old:
        counts[line] = counts.get(line, 0) + 1
    return sum(counts.get(line, 0) for line in new)


def _span(first: int, last: int) -> str:
    count = last - first
    if count == 1:
        return str(first + 1)
    return f"{first + 1 if count else first},{count}"


def _line(sign: bytes, line: bytes) -> bytes:
    return sign + line if line.endswith(b"\n") else sign + line + b"\n\\ No newline at end of file\n"


def _binary(old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield a binary patch, forward and back, each as a literal (git's diff.c: emit_binary_diff)."""
    yield b"GIT binary patch\n"
    for content in (new, old):
        yield b"literal %d\n" % len(content)
        packed = zlib.compress(content)
        for start in range(0, len(packed), 52):
            chunk = packed[start : start + 52]
            size = len(chunk)
            letter = bytes([size + (ord("A") - 1 if size <= 26 else ord("a") - 27)])
            yield letter + base64.b85encode(chunk, pad=True) + b"\n"
        yield b"\n"


def _header(old: str, new: str) -> str:
    # Unquoted, git finds no end of a folder's name that ends with a space (apply.c: git_header_name).
    quoted = " /" in old or " /" in new
    return f"diff --git {_name('a/' + old, always=quoted)} {_name('b/' + new, always=quoted)}"


def _name(path: str, *, always: bool = False) -> str:
    """Quote a name as git does: when it holds a control character, a quote, a backslash or non-ASCII."""
    raw = os.fsencode(path)
    if not always and all(32 <= byte < 127 and byte not in _ESCAPES for byte in raw):
        return path
    return '"' + "".join(_escaped(byte) for byte in raw) + '"'


def _escaped(byte: int) -> str:
    if byte in _ESCAPES:
        return "\\" + _ESCAPES[byte]
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"


def _tab(name: str) -> str:
    """Return the tab that git puts after a name with a space in `---` and `+++` lines."""
    return "\t" if " " in name and not name.startswith('"') else ""


def _encode(text: str) -> bytes:
    return text.encode("ascii")
