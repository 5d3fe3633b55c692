"""Describe a folder tree before it exists, and write it as a tar file that is the same every time.

What a tree is made of (paths, modes, sources) is hashed, not the bytes of the tar: compiled modules may
differ by a few bytes from one run of the same interpreter to the next.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import marshal
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sandbox.runtime.errors import RuntimeBuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox.runtime.engine import Progress

_FLAGS_UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552: by hash, and the source is never looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder."""

    mode: int = 0o755
    """Permission bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link."""

    target: str
    """What it says; not resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A file with content as it is."""

    content: bytes | Path
    """The bytes, or the file of this machine that holds them."""
    mode: int = 0o644
    """Permission bits; never setuid, setgid or sticky."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A Python module, compiled by the interpreter that runs this."""

    source: Path
    """The module's text on this machine."""
    shown_as: str
    """The path that its tracebacks show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Modules of one package in one file, as `sandbox.guest.packed` reads it."""

    modules: tuple[tuple[str, Compiled], ...]
    """Each by its name within the package; the package's own is "" there."""


Entry = Folder | Link | Plain | Compiled | Packed


class Tree:
    """Paths and what is there; parents come by themselves."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __contains__(self, path: object) -> bool:
        return path in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def paths(self) -> tuple[str, ...]:
        """Return every path, sorted, relative and without a leading slash."""
        return tuple(sorted(self._entries))

    def add(self, path: str, entry: Entry) -> None:
        """Put one entry at a relative path; the last one put there stays."""
        for parent in PurePosixPath(path).parents:
            if parent.parts:
                self._entries.setdefault(str(parent), Folder())
        self._entries[path] = entry

    def digest(self, *, salt: str) -> str:
        """Return a hash of all paths, modes and sources (SHA-256, in hexadecimal).

        Args:
            salt: What else decides the outcome, such as the interpreter that compiles.
        """
        total = hashlib.sha256(salt.encode())
        for path in self.paths():
            total.update(f"\0{path}\0{_description(self._entries[path])}".encode())
        return total.hexdigest()

    def write(self, target: Path, *, progress: Progress, message: str) -> None:
        """Write the tree as an uncompressed tar file: sorted, owned by root, dated 1970.

        Raises:
            RuntimeBuildError: When a source of this machine cannot be read or compiled.
        """
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
            for done, path in enumerate(self.paths()):
                if done % 50 == 0:
                    progress(message, done=done, total=len(self))
                try:
                    _put(tar, path, self._entries[path])
                except (OSError, SyntaxError, ValueError) as exc:
                    raise RuntimeBuildError(f"`{path}` cannot be made: {exc}") from exc
        progress(message, done=len(self), total=len(self))


def walk(folder: Path, *, skip: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """Yield every file below a folder, sorted, with its relative path; symlinks to files count as files.

    Args:
        folder: Where to begin; one that is not there has no files.
        skip: Names of files and folders that are passed over at every level.
    """
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.name in skip:
            continue
        if entry.is_dir():
            yield from ((f"{entry.name}/{below}", path) for below, path in walk(entry, skip=skip))
        elif entry.is_file():
            yield entry.name, entry


def compiled(source: bytes, *, shown_as: str) -> bytes:
    """Return a module compiled as PEP 552 has it, marked so that the source is never looked for."""
    header = importlib.util.MAGIC_NUMBER + _FLAGS_UNCHECKED_HASH + importlib.util.source_hash(source)
    return header + _code(source, shown_as)


def packed(modules: Iterable[tuple[str, Compiled]]) -> bytes:
    """Return modules as one file: a marshalled mapping from names to marshalled code."""
    return marshal.dumps({name: _code(m.source.read_bytes(), m.shown_as) for name, m in modules})


def _code(source: bytes, shown_as: str) -> bytes:
    return marshal.dumps(compile(source, shown_as, "exec", dont_inherit=True, optimize=0))


def _description(entry: Entry) -> str:
    match entry:
        case Folder(mode=mode):
            return f"folder {mode:o}"
        case Link(target=target):
            return f"link {target}"
        case Plain(content=content, mode=mode):
            return f"file {mode:o} {_sha256(content)}"
        case Compiled(source=source, shown_as=shown_as):
            return f"compiled {shown_as} {_sha256(source)}"
        case Packed(modules=modules):
            return " ".join(["packed", *(f"{name} {_description(module)}" for name, module in modules)])


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    member = tarfile.TarInfo(path)
    match entry:
        case Folder(mode=mode):
            member.type, member.mode = tarfile.DIRTYPE, mode
            tar.addfile(member)
        case Link(target=target):
            member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(member)
        case Plain(content=content, mode=mode):
            _put_file(tar, member, content if isinstance(content, bytes) else content.read_bytes(), mode)
        case Compiled(source=source, shown_as=shown_as):
            _put_file(tar, member, compiled(source.read_bytes(), shown_as=shown_as), 0o644)
        case Packed(modules=modules):
            _put_file(tar, member, packed(modules), 0o644)


def _put_file(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes, mode: int) -> None:
    member.size, member.mode = len(content), mode & 0o777
    tar.addfile(member, io.BytesIO(content))
