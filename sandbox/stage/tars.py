"""Read a tar stream that a hostile container may have made, and write headers for one of ours.

The reader is strict and bounded: ustar, pax and GNU long names; anything else, a bad checksum or a stream
that ends early is refused. It holds one block and one header's names in memory, never a body.
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sandbox.stage.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK_BYTES: Final = 512
MAX_NAMES_BYTES: Final = 64 * 1024
"""Longest extended header; the two longest names that Linux knows take 8 KiB."""


class TarKind(StrEnum):
    """What an entry of a tar stream is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    LINK = "link"
    SPECIAL = "special"


_KINDS: Final = {
    b"0": TarKind.FILE, b"\0": TarKind.FILE, b"7": TarKind.FILE, b"1": TarKind.LINK, b"2": TarKind.SYMLINK,
    b"3": TarKind.SPECIAL, b"4": TarKind.SPECIAL, b"5": TarKind.FOLDER, b"6": TarKind.SPECIAL,
}  # fmt: skip


class TarError(StageError):
    """Raised when a tar stream breaks a rule; nothing of it is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """One entry's header."""

    path: str
    """As the stream has it, a trailing slash removed; not checked in any way."""
    kind: TarKind
    mode: int
    """Permission bits."""
    size: int
    """Bytes of content that follow; 0 for everything but files."""
    target: str
    """Where a symlink points, or which entry a hard link names."""


@dataclass(slots=True)
class TarReader:
    """Entries of a tar stream, one after the other; what is not read of a body is skipped."""

    chunks: Iterator[bytes]
    buffer: bytearray = field(default_factory=bytearray)
    left: int = 0
    """Bytes of the current body that were not read yet."""
    padding: int = 0
    """Bytes between the current body and the next header."""

    def __iter__(self) -> Iterator[TarEntry]:
        """Yield each entry; read its body with `body` before asking for the next.

        Raises:
            TarError: When the stream is not a well-formed tar.
        """
        extended: dict[str, str] = {}
        while (header := self._next_header()) is not None:
            flag = header[156:157]
            if flag in {b"x", b"L", b"K"}:
                extended.update(_extended(flag, self._names(header)))
            elif flag == b"g":
                self._names(header)
            else:
                entry = _entry(header, extended)
                extended = {}
                self.left, self.padding = entry.size, -entry.size % BLOCK_BYTES
                yield entry

    def body(self) -> Iterator[bytes]:
        """Yield the content of the current entry."""
        while self.left:
            chunk = self._some(self.left)
            self.left -= len(chunk)
            yield chunk

    def _next_header(self) -> bytes | None:
        for _ in self.body():
            pass
        self._exactly(self.padding)
        self.padding = 0
        header = self._exactly(BLOCK_BYTES)
        if not header.strip(b"\0"):
            return None
        given = _number(header[148:156])
        if given != sum(header[:148]) + 8 * 32 + sum(header[156:]):
            raise TarError("the stream of the agent's files is not a tar: bad checksum")
        return header

    def _names(self, header: bytes) -> bytes:
        size = _number(header[124:136])
        if size > MAX_NAMES_BYTES:
            raise TarError(f"the stream of the agent's files has a name of `{size}` bytes")
        content = self._exactly(size)
        self._exactly(-size % BLOCK_BYTES)
        return content

    def _some(self, most: int) -> bytes:
        if not self.buffer:
            chunk = next((chunk for chunk in self.chunks if chunk), b"")
            if not chunk:
                raise TarError("the stream of the agent's files ended early")
            self.buffer += chunk
        taken = bytes(self.buffer[:most])
        del self.buffer[: len(taken)]
        return taken

    def _exactly(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            taken += self._some(size - len(taken))
        return bytes(taken)


def read_tar(chunks: Iterable[bytes]) -> TarReader:
    """Return a reader of the entries in a stream of chunks of any size."""
    return TarReader(iter(chunks))


def tar_header(entry: TarEntry, *, uid: int, gid: int, mtime: int) -> bytes:
    """Return the header blocks of one entry, in pax form, owned by `uid` and `gid`."""
    info = tarfile.TarInfo(entry.path)
    info.type = {
        TarKind.FILE: tarfile.REGTYPE,
        TarKind.FOLDER: tarfile.DIRTYPE,
        TarKind.SYMLINK: tarfile.SYMTYPE,
    }[entry.kind]
    info.mode, info.size, info.mtime, info.linkname = entry.mode, entry.size, mtime, entry.target
    info.uid, info.gid = uid, gid
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _entry(header: bytes, extended: dict[str, str]) -> TarEntry:
    kind = _KINDS.get(header[156:157])
    if kind is None:
        raise TarError(f"the stream of the agent's files has an entry of unknown type `{header[156]:#x}`")
    name = _text(header[0:100])
    if header[257:263] == b"ustar\0" and header[345]:
        name = f"{_text(header[345:500])}/{name}"
    try:
        size = int(extended.get("size", "") or _number(header[124:136]))
    except ValueError as error:
        raise TarError("the stream of the agent's files has a size that is no number") from error
    if size < 0:
        raise TarError("the stream of the agent's files has a negative size")
    return TarEntry(
        path=extended.get("path", name).rstrip("/"),
        kind=kind,
        mode=_number(header[100:108]) & 0o7777,
        size=size if kind is TarKind.FILE else 0,
        target=extended.get("linkpath", _text(header[157:257])),
    )


def _text(raw: bytes) -> str:
    return os.fsdecode(raw.split(b"\0", 1)[0])


def _number(raw: bytes) -> int:
    """Read an octal number, or GNU's binary form for large ones."""
    if raw[0] & 0x80:
        return int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
    digits = raw.strip(b"\0 ")
    if not digits:
        return 0
    try:
        return int(digits, 8)
    except ValueError as error:
        raise TarError("the stream of the agent's files has a number that is not octal") from error


def _extended(flag: bytes, content: bytes) -> dict[str, str]:
    if flag == b"L":
        return {"path": _text(content)}
    if flag == b"K":
        return {"linkpath": _text(content)}
    return dict(_records(content))


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of a pax header: `<length> <key>=<value>` and a newline each."""
    while content:
        length, space, _ = content.partition(b" ")
        if not space or not length.isdigit() or not len(length) + 2 < int(length) <= len(content):
            raise TarError("the stream of the agent's files has a malformed extended header")
        record, content = content[len(length) + 1 : int(length) - 1], content[int(length) :]
        key, _, value = record.partition(b"=")
        if b"\0" in value and key in {b"path", b"linkpath"}:
            raise TarError("the stream of the agent's files has a name with a NUL in it")
        yield os.fsdecode(key), os.fsdecode(value)
