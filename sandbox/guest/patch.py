"""Change part of a file: exactly the text that is named, or a unified diff that fits, and nothing else.

The text is taken as bytes; nothing is decoded, and no line that the edit does not name changes. In a file
whose every line ends with CR LF, an edit written with LF means CR LF. In a file that is too long to be held,
a text is replaced as it stands, and a hunk fits at the line that it names or nowhere.
"""

from __future__ import annotations

import os

from . import hunks, placing, replacing
from .arguments import Arguments
from .beneath import shown
from .files import open_file
from .refusal import RefusedError
from .task import CHUNK_BYTES, Task
from .writing import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .beneath import Beneath
    from .hunks import Diff
    from .objects import Object, Value

MAX_FILE_BYTES = 64 << 20
MAX_EDIT_BYTES = 32 << 20
MAX_OLD_BYTES = 1 << 20
_ARGUMENTS = frozenset({"path", "path_base64", "form", "old_bytes", "every", "timeout_seconds"})


def patch(task: Task, beneath: Beneath) -> Object:
    """Apply the body: a diff, or (`form` is `replace`) `old_bytes` to look for and then the new text."""
    arguments = Arguments(task.values, _ARGUMENTS)
    path = arguments.path()
    edit = _take_all(task)
    form = arguments.text("form")
    named = {name: value for name, value in task.values.items() if name in ("path", "path_base64")}
    if form == "diff":
        found = hunks.parse(edit)
        hunks.require_about(found, path)
        if not found.creates and (descriptor := _long_file(beneath, path)) is not None:
            return _apply_streamed(task, beneath, descriptor, found, named)
        named["create_parents"] = found.creates
        content, facts = hunks.apply(_read(beneath, path, may_be_missing=found.creates), found)
    elif form == "replace":
        size = arguments.number("old_bytes", default=0, least=0, most=len(edit))
        old, new = edit[:size], edit[size:]
        every = arguments.flag("every")
        if (descriptor := _long_file(beneath, path)) is not None:
            return _replace_streamed(task, beneath, descriptor, (old, new), named, every=every)
        content, facts = _replaced(_read(beneath, path), old, new, every=every)
    else:
        raise RefusedError("arguments", "argument `form` is wrong; expected `diff` or `replace`")
    return {**write(_Composed(task, named, content), beneath), **facts}


class _Composed(Task):
    """Stand for the task while its new content, made here, is written."""

    def __init__(self, task: Task, values: Object, content: bytes) -> None:
        super().__init__(task.channel, task.stream, values)
        self._content = content

    def receive_body(self) -> bytes:
        """Return the next part of the content; empty when it has ended."""
        part, self._content = self._content[:CHUNK_BYTES], self._content[CHUNK_BYTES:]
        return part


class _Streamed(Task):
    """Stand for the task while its new content is made, piece by piece."""

    def __init__(self, task: Task, values: Object, pieces: Iterator[bytes]) -> None:
        super().__init__(task.channel, task.stream, values)
        self._pieces = pieces

    def receive_body(self) -> bytes:
        """Return the next piece; empty when there is none.

        Raises:
            RefusedError: code `cancelled` when the host does not want it any more.
        """
        self.require_wanted()
        return next((piece for piece in self._pieces if piece), b"")


def _long_file(beneath: Beneath, path: bytes) -> int | None:
    """Return a descriptor of a file that is too long to be held; None where it is not."""
    descriptor = open_file(beneath, path)
    if os.fstat(descriptor).st_size > MAX_FILE_BYTES:
        return descriptor
    os.close(descriptor)
    return None


def _apply_streamed(task: Task, beneath: Beneath, descriptor: int, diff: Diff, named: Object) -> Object:
    """Apply a diff to a long file; it is read while the new one is written beside it, never over it."""
    try:
        places = placing.placed(descriptor, diff)
        pieces = placing.changed(descriptor, places)
        told = write(_Streamed(task, named, pieces), beneath, in_place=False)
    finally:
        os.close(descriptor)
    lines: list[Value] = [hunk.start for hunk in diff.hunks[: hunks.SHOWN_HUNKS]]
    return {**told, "hunks": len(places), "lines": lines, "asked": lines}


def _replace_streamed(  # noqa: PLR0913 (a file, an edit, and where they came from)
    task: Task, beneath: Beneath, descriptor: int, edit: tuple[bytes, bytes], named: Object, *, every: bool
) -> Object:
    """Replace in a long file; it is read while the new one is written beside it, never over it."""
    old, new = edit
    try:
        if not 0 < len(old) <= MAX_OLD_BYTES:
            raise RefusedError("limit", f"in so long a file the text has 1 to `{MAX_OLD_BYTES}` bytes")
        found = replacing.looked_for(descriptor, old)
        _require_fit(found.count, list(found.lines), "", every=every)
        pieces = replacing.replaced(descriptor, old, new, count=found.count)
        told = write(_Streamed(task, named, pieces), beneath, in_place=False)
    finally:
        os.close(descriptor)
    return {**told, "replaced": found.count, "lines": list(found.lines)}


def _require_fit(count: int, lines: list[Value], near: str, *, every: bool) -> None:
    if count == 0:
        raise RefusedError("no-match", f"the text to replace is not in the file{near}")
    if count > 1 and not every:
        places = ", ".join(str(line) for line in lines)
        raise RefusedError("many-matches", f"the text to replace is there `{count}` times, at lines {places}")


def _take_all(task: Task) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data := task.receive_body():
        size += len(data)
        if size > MAX_EDIT_BYTES:
            raise RefusedError("limit", f"the edit is longer than `{MAX_EDIT_BYTES}` bytes")
        parts.append(data)
    return b"".join(parts)


def _read(beneath: Beneath, path: bytes, *, may_be_missing: bool = False) -> bytes:
    try:
        descriptor = open_file(beneath, path)
    except RefusedError as refusal:
        if may_be_missing and refusal.code == "not-found":
            return b""
        raise
    if may_be_missing:
        os.close(descriptor)
        raise RefusedError("exists", f"`{shown(path)}` exists, and the diff creates it")
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise RefusedError("limit", f"`{shown(path)}` is longer than `{MAX_FILE_BYTES}` bytes")
    return content


def _replaced(content: bytes, old: bytes, new: bytes, *, every: bool) -> tuple[bytes, Object]:
    if not old:
        raise RefusedError("no-match", "the text to replace is empty; expected text that the file has")
    if b"\r" not in old + new and hunks.ends_with_returns(content):
        old, new = hunks.with_returns(old), hunks.with_returns(new)
    count, places = content.count(old), _places(content, old)
    _require_fit(count, places, "" if count else _near(content, old), every=every)
    return content.replace(old, new), {"replaced": count, "lines": places}


def _places(content: bytes, old: bytes) -> list[Value]:
    """Return the lines where the first few matches begin."""
    lines: list[Value] = []
    place, line = 0, 1
    while len(lines) < replacing.SHOWN_PLACES and (found := content.find(old, place)) >= 0:
        line += content.count(b"\n", place, found)
        lines.append(line)
        line += content.count(b"\n", found, found + len(old))
        place = found + len(old)
    return lines


def _near(content: bytes, old: bytes) -> str:
    """Say where text stands that differs in white space alone, or where its first line does."""
    wanted = [b" ".join(line.split()) for line in old.strip().split(b"\n")]
    have = [b" ".join(line.split()) for line in content.split(b"\n")]
    starts = [number for number, line in enumerate(have) if line == wanted[0]]
    for start in starts:
        if have[start : start + len(wanted)] == wanted:
            return f"; lines {start + 1} to {start + len(wanted)} differ from it in white space only"
    if not starts or len(wanted) == 1:
        return ""
    return "; " + _first_difference(wanted, have, starts[0])


def _first_difference(wanted: list[bytes], have: list[bytes], start: int) -> str:
    for offset, line in enumerate(wanted):
        found = have[start + offset] if start + offset < len(have) else b"the end of the file"
        if found != line:
            return f"its first line is line {start + 1}, but line {start + offset + 1} is `{shown(found)}`"
    return f"its first line is line {start + 1}"
