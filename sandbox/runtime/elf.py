"""Read what an ELF file asks of the loader, and take its search paths away; nothing is run here.

The layout is that of the System V ABI, generic part, chapters 4 and 5 (64-bit, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.runtime.errors import NotAnElfError

if TYPE_CHECKING:
    from pathlib import Path

Content = bytes | mmap.mmap

_MAGIC = b"\x7fELF\x02\x01"  # ELF, 64-bit, little-endian
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")

_LOAD, _DYNAMIC_SEGMENT, _INTERPRETER = 1, 2, 3
_END, _NEEDED, _STRINGS, _SONAME, _RPATH, _RUNPATH = 0, 1, 5, 14, 15, 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """What one ELF file asks of the loader."""

    interpreter: str
    """PT_INTERP: the loader's path; empty for a library and for a static program."""
    soname: str
    """DT_SONAME; empty when there is none."""
    needed: tuple[str, ...]
    """DT_NEEDED, in order: the libraries it cannot start without."""
    search: tuple[str, ...]
    """DT_RPATH and DT_RUNPATH, as written: folders where the loader would look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """One program header."""

    kind: int
    offset: int
    address: int
    size: int


def is_elf(content: Content) -> bool:
    """Return whether the bytes begin as those of a 64-bit little-endian ELF file."""
    return content[: len(_MAGIC)] == _MAGIC


def read_elf(path: Path) -> Elf:
    """Read what one ELF file asks of the loader.

    Raises:
        NotAnElfError: When it is none, is damaged, or is for a machine of another word size.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _parse(content)
    except (struct.error, ValueError, IndexError) as exc:
        raise NotAnElfError(path) from exc


def without_search_paths(content: bytes) -> bytes:
    """Return the same file without DT_RPATH and DT_RUNPATH; a file that has none comes back as it is.

    INVARIANT: a copy inside a container must not name folders of the host, which an image could fill:
    DT_RPATH wins over `--library-path`.
    """
    table = next((s for s in _segments(content) if s.kind == _DYNAMIC_SEGMENT), None)
    if table is None:
        return content
    entries = _dynamic(content, table)
    kept = [entry for entry in entries if entry[0] not in (_RPATH, _RUNPATH)]
    if len(kept) == len(entries):
        return content
    packed = b"".join(_DYNAMIC.pack(*entry) for entry in kept)
    packed = packed.ljust(len(entries) * _DYNAMIC.size, b"\0")
    return content[: table.offset] + packed + content[table.offset + len(packed) :]


def _parse(content: Content) -> Elf:
    if not is_elf(content):
        raise ValueError(content)
    segments = _segments(content)
    interpreter = next((s for s in segments if s.kind == _INTERPRETER), None)
    table = next((s for s in segments if s.kind == _DYNAMIC_SEGMENT), None)
    entries = _dynamic(content, table) if table else []
    address = next((value for tag, value in entries if tag == _STRINGS), 0)
    strings = _file_offset(segments, address) if entries else 0

    def texts(*tags: int) -> tuple[str, ...]:
        return tuple(_text(content, strings + value) for tag, value in entries if tag in tags)

    return Elf(
        interpreter=_text(content, interpreter.offset) if interpreter else "",
        soname="".join(texts(_SONAME)[:1]),
        needed=texts(_NEEDED),
        search=texts(_RPATH, _RUNPATH),
    )


def _segments(content: Content) -> list[_Segment]:
    if not is_elf(content):
        return []
    fields = _HEADER.unpack_from(content)
    first, each, count = fields[4], fields[8], fields[9]
    found: list[_Segment] = []
    for index in range(count):
        kind, _flags, offset, address, _physical, size, _memory, _align = _SEGMENT.unpack_from(
            content, first + index * each
        )
        found.append(_Segment(kind=kind, offset=offset, address=address, size=size))
    return found


def _dynamic(content: Content, table: _Segment) -> list[tuple[int, int]]:
    """Return the dynamic entries up to the closing one, which is left out."""
    entries: list[tuple[int, int]] = []
    for offset in range(table.offset, table.offset + table.size, _DYNAMIC.size):
        tag, value = _DYNAMIC.unpack_from(content, offset)
        if tag == _END:
            break
        entries.append((tag, value))
    return entries


def _file_offset(segments: list[_Segment], address: int) -> int:
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise ValueError(address)


def _text(content: Content, offset: int) -> str:
    end = content.find(b"\0", offset)
    if end < 0:
        raise ValueError(offset)
    return content[offset:end].decode()
