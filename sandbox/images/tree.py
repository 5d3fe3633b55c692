"""Turn the tar stream that a build session hands out into one that an image may be made of.

The stream is hostile: its programs chose every name in it. What goes on is ours: plain files, folders and
symbolic links below named folders, owned by root, never setuid, never a device, bounded in number and size.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sandbox.images.errors import BuildTreeError
from sandbox.stage.tars import TarError, TarKind, read_tar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sandbox.stage.tars import TarEntry, TarReader

MOST_BYTES: Final = 16 * 1024**3
MOST_ENTRIES: Final = 1_000_000
MOST_NAME_BYTES: Final = 255
MOST_PATH_BYTES: Final = 3000
MOST_PROGRAMS: Final = 5000
LINKS: Final = "usr/local/bin"
_WHITEOUT: Final = ".wh."
"""With such a name, a layer takes a file of the layers below away."""
_INTERPRETER: Final = re.compile(r"python[0-9.]*")
"""Linked, it would not find its environment; a script of ours starts it."""
_PROGRAM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFacts:
    """What came of it."""

    entries: int
    content_bytes: int
    programs: tuple[str, ...]
    """Names that got a link in /usr/local/bin."""


@dataclass(slots=True, kw_only=True)
class _Sieve:
    """What was let through so far."""

    tops: tuple[str, ...]
    target: tarfile.TarFile
    kinds: dict[str, TarKind] = field(default_factory=dict)
    runnable: set[str] = field(default_factory=set)
    content_bytes: int = 0

    def take(self, entry: TarEntry, reader: TarReader) -> None:
        path = _path(entry.path)
        if path == ".":
            return
        self._require_place(path, entry)
        self.kinds[path] = entry.kind
        member = _member(path, entry)
        if entry.kind is TarKind.FILE:
            self.content_bytes += entry.size
            if self.content_bytes > MOST_BYTES:
                raise BuildTreeError(f"it holds more than {MOST_BYTES} bytes")
            self.target.addfile(member, _Body(reader.body()))
        else:
            self.target.addfile(member)
        if entry.kind is not TarKind.FOLDER and (entry.kind is TarKind.SYMLINK or member.mode & 0o111):
            self.runnable.add(path)

    def _require_place(self, path: str, entry: TarEntry) -> None:
        inside = any(path.startswith(f"{top}/") for top in self.tops)
        leading = entry.kind is TarKind.FOLDER and any(f"{top}/".startswith(f"{path}/") for top in self.tops)
        if not (inside or leading):
            raise BuildTreeError(f"`{path[:200]!a}` lies beside {', '.join(self.tops)}")
        if path in self.kinds:
            raise BuildTreeError(f"`{path[:200]!a}` is there twice")
        if len(self.kinds) >= MOST_ENTRIES:
            raise BuildTreeError(f"it has more than {MOST_ENTRIES} files and folders")
        above = posixpath.dirname(path)
        if above and self.kinds.get(above) is not TarKind.FOLDER:
            raise BuildTreeError(f"`{path[:200]!a}` does not lie in a folder")
        if entry.kind is TarKind.SPECIAL:
            raise BuildTreeError(f"`{path[:200]!a}` is a device, a pipe or a socket")
        if entry.kind is TarKind.LINK and self.kinds.get(_path(entry.target)) is not TarKind.FILE:
            raise BuildTreeError(f"`{path[:200]!a}` is a second name of what is no file")
        if entry.kind is TarKind.SYMLINK and not 0 < len(entry.target) <= MOST_PATH_BYTES:
            raise BuildTreeError(f"`{path[:200]!a}` links to nothing, or too far")


def clean_tree(
    chunks: Iterable[bytes],
    target: Path,
    *,
    tops: tuple[str, ...],
    programs: tuple[str, ...],
    wrappers: tuple[tuple[str, bytes], ...] = (),
) -> TreeFacts:
    """Write the tar file that an image is made of.

    Args:
        chunks: The hostile stream.
        target: The file to write.
        tops: Folders that may be in it, with those above them; anything beside them is refused.
        programs: Folders whose programs get a link in /usr/local/bin, which is on every session's PATH.
        wrappers: Scripts of ours for that folder: name and content; a program of the tree goes before one.

    Raises:
        BuildTreeError: When the stream breaks a rule; nothing of it is to be used then.
    """
    with tarfile.open(
        target, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        sieve = _Sieve(tops=tops, target=tar)
        reader = read_tar(chunks)
        try:
            for entry in reader:
                sieve.take(entry, reader)
        except TarError as error:
            raise BuildTreeError(error.message) from error
        names = _link_programs(tar, sieve.runnable, programs)
        for name, content in wrappers:
            if name in names:
                continue
            _add_script(tar, f"{LINKS}/{name}", content)
    return TreeFacts(entries=len(sieve.kinds), content_bytes=sieve.content_bytes, programs=names)


def _path(raw: str) -> str:
    """Return a name in its one form, relative and without a step up."""
    if raw.startswith("/") or "\0" in raw or len(raw.encode("utf-8", "surrogateescape")) > MOST_PATH_BYTES:
        raise BuildTreeError(f"`{raw[:200]!a}` is no path that could lie in an image")
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    for part in parts:
        size = len(part.encode("utf-8", "surrogateescape"))
        if part == ".." or part.startswith(_WHITEOUT) or size > MOST_NAME_BYTES:
            raise BuildTreeError(f"`{raw[:200]!a}` has a name that could do harm")
    return "/".join(parts) or "."


def _member(path: str, entry: TarEntry) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    runnable = entry.mode & 0o111
    match entry.kind:
        case TarKind.FOLDER:
            member.type, member.mode = tarfile.DIRTYPE, 0o755
        case TarKind.SYMLINK:
            member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, entry.target
        case TarKind.LINK:
            member.type, member.linkname = tarfile.LNKTYPE, _path(entry.target)
            member.mode = 0o755 if runnable else 0o644
        case _:
            member.mode, member.size = 0o755 if runnable else 0o644, entry.size
    return member


def _link_programs(tar: tarfile.TarFile, runnable: set[str], programs: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for path in sorted(runnable):
        folder, _, name = path.rpartition("/")
        if folder in programs and _PROGRAM.fullmatch(name) and not _INTERPRETER.fullmatch(name):
            found.setdefault(name, path)
    if len(found) > MOST_PROGRAMS:
        raise BuildTreeError(f"it has {len(found)} programs, expected at most {MOST_PROGRAMS}")
    for name, path in found.items():
        link = tarfile.TarInfo(f"{LINKS}/{name}")
        link.type, link.mode, link.linkname = tarfile.SYMTYPE, 0o777, f"/{path}"
        tar.addfile(link)
    return tuple(found)


def _add_script(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    member = tarfile.TarInfo(path)
    member.mode, member.size = 0o755, len(content)
    tar.addfile(member, io.BytesIO(content))


class _Body(io.RawIOBase):
    """Read the chunks of one body as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return exactly `size` bytes, as the writer of a tar wants; fewer only at the end."""
        parts: list[bytes] = []
        while size > 0:
            if not self._rest:
                self._rest = next(self._chunks, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:size], self._rest[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
