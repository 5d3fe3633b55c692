"""Write packs that git would not: deltas that double their base, long chains, bases that are each other.

The formats are gitformat-pack(5)'s: an entry's head, an offset to its base, a delta's copy instructions.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BLOB, BY_OFFSET, BY_NAME = 3, 6, 7
_MOST_COPIED = 0xFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a pack."""

    kind: int
    content: bytes
    name: str
    """The name under which the index lists it, whatever it holds."""
    base: bytes = b""
    """The name of a base; empty where the base, if any, is the entry before."""


def name_of(number: int) -> str:
    """Return an object's name."""
    return f"{number:040x}"


def doubling(length: int) -> bytes:
    """Return a delta that copies its base, of that length, twice."""
    copies = b""
    for _ in range(2):
        for offset in range(0, length, _MOST_COPIED):
            copies += _copy(offset, min(_MOST_COPIED, length - offset))
    return _size(length) + _size(2 * length) + copies


def same(length: int) -> bytes:
    """Return a delta that copies its base once."""
    return _size(length) + _size(length) + _copy(0, length)


def write_pack(repository: Path, entries: list[Entry]) -> None:
    """Write a pack and the index that lists its entries."""
    body, offsets = b"PACK" + struct.pack(">II", 2, len(entries)), [0]
    listed = []
    for entry in entries:
        base = entry.base
        if entry.kind == BY_OFFSET:
            base = _distance(len(body) - offsets[-1])
        offsets.append(len(body))
        packed = _head(entry.kind, len(entry.content)) + base + zlib.compress(entry.content)
        listed.append((bytes.fromhex(entry.name), offsets[-1], zlib.crc32(packed)))
        body += packed
    body += hashlib.sha1(body, usedforsecurity=False).digest()
    folder = repository / ".git" / "objects" / "pack"
    folder.mkdir(exist_ok=True)
    name = f"pack-{body[-20:].hex()}"
    (folder / f"{name}.pack").write_bytes(body)
    (folder / f"{name}.idx").write_bytes(_index(sorted(listed), body[-20:]))


def _index(listed: list[tuple[bytes, int, int]], checksum: bytes) -> bytes:
    first = [sum(name[0] <= byte for name, _, _ in listed) for byte in range(256)]
    index = b"\377tOc" + struct.pack(">I256I", 2, *first) + b"".join(name for name, _, _ in listed)
    index += b"".join(struct.pack(">I", crc) for _, _, crc in listed)
    index += b"".join(struct.pack(">I", offset) for _, offset, _ in listed) + checksum
    return index + hashlib.sha1(index, usedforsecurity=False).digest()


def _head(kind: int, size: int) -> bytes:
    rest = size >> 4
    return bytes([(0x80 if rest else 0) | kind << 4 | size & 15]) + (_size(rest) if rest else b"")


def _size(number: int) -> bytes:
    more = number >> 7
    return bytes([number & 0x7F | (0x80 if more else 0)]) + (_size(more) if more else b"")


def _distance(number: int) -> bytes:
    found = [number & 0x7F]
    while number := number >> 7:
        number -= 1
        found.insert(0, 0x80 | number & 0x7F)
    return bytes(found)


def _copy(offset: int, size: int) -> bytes:
    given = [(0x01 << at, offset >> 8 * at & 255) for at in range(4)]
    given += [(0x10 << at, size >> 8 * at & 255) for at in range(3)]
    operation = 0x80 | sum(bit for bit, byte in given if byte)
    return bytes([operation, *(byte for _, byte in given if byte)])
