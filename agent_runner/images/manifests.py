"""Read the files of a project that name what it depends on: exactly these, and nothing else of the folder.

They come from a repository that nobody has to trust. They are read as bytes, bounded, never through a
symbolic link, and what they say of registries, paths and other projects is left out and told.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from agent_runner.errors import InvalidInputError
from agent_runner.images.uv_lock import requirements_of
from policies.package_data import default_globs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from agent_runner.images.registries import Kind

MOST_BYTES: Final = 16 * 1024 * 1024
MOST_FILES: Final = 32
MOST_TOLD: Final = 20
"""Lines left out of one file that a person is shown; of more, the number."""
REQUIREMENTS: Final = (
    "requirements.txt", "requirements-dev.txt", "requirements-test.txt", "dev-requirements.txt",
    "test-requirements.txt", "requirements/dev.txt", "requirements/test.txt",
)  # fmt: skip
_PAIRS: Final[tuple[tuple[Kind, str, tuple[str, ...]], ...]] = (
    ("npm", "package.json", ("package-lock.json", "npm-shrinkwrap.json")),
    ("go", "go.mod", ("go.sum",)),
    ("cargo", "Cargo.toml", ("Cargo.lock",)),
)
_INCLUDE: Final = re.compile(r"(?:-r|-c|--requirement|--constraint)[= ]*(?P<path>\S+)")
_INCLUDED: Final = re.compile(r"[\w./+-]+\.(?:txt|in|pip)")
"""Where requirements may go on: a requirements file by its name, nothing else of the project."""
_SOURCE: Final = re.compile(
    r"(?P<option>-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host|--no-index)\b"
)
_ELSEWHERE: Final = re.compile(r"(?:-e|--editable)\b|\.{0,2}/|file:|.*(?:://|\s@\s)", re.IGNORECASE)
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One file, as the build will see it."""

    kind: Kind
    name: str
    """Relative to the project, with `/`."""
    content: bytes
    left_out: tuple[str, ...] = ()
    """What it asks for and does not get, for people."""


def find_manifests(folder: Path) -> tuple[Manifest, ...]:
    """Return the files from which an image for a project is made.

    Args:
        folder: The project.

    Raises:
        InvalidInputError: When there is none, or one cannot be used.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"`{folder}` is not a folder")
    found = (*_python(folder), *(manifest for pair in _PAIRS for manifest in _pair(folder, *pair)))
    if not found:
        raise InvalidInputError(
            f"`{folder}` has no file from which an image can be made",
            hint="expected requirements.txt, uv.lock, package-lock.json, go.sum or Cargo.lock",
        )
    return found


def digest_of(manifests: tuple[Manifest, ...]) -> str:
    """Return SHA-256 over names and contents, in hexadecimal."""
    total = hashlib.sha256()
    for manifest in manifests:
        total.update(f"{manifest.kind}\0{manifest.name}\0{len(manifest.content)}\0".encode())
        total.update(manifest.content)
    return total.hexdigest()


def read_manifest(folder: Path, name: str) -> bytes:
    """Return the bytes of one named file of a project.

    Raises:
        InvalidInputError: When it is not there, is no ordinary file, or is too large.
    """
    content = _read(folder, name)
    if content is None:
        raise InvalidInputError(f"`{folder}` has no file `{name}`")
    return content


def _python(folder: Path) -> tuple[Manifest, ...]:
    lock = _read(folder, "uv.lock")
    if lock is not None:
        text = requirements_of(_decoded("uv.lock", lock))
        return (Manifest(kind="pip", name="uv.lock", content=text.encode()),)
    waiting = [name for name in REQUIREMENTS if (folder / name).is_file()]
    found: dict[str, Manifest] = {}
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        if len(found) >= MOST_FILES:
            raise InvalidInputError(f"`{name}` is one file too many, expected at most {MOST_FILES}")
        content = _read(folder, name)
        if content is None:
            raise InvalidInputError(f"`{name}` is asked for by another requirements file, and is not there")
        found[name], included = _requirements(name, _decoded(name, content))
        waiting += included
    return tuple(found.values())


def _requirements(name: str, text: str) -> tuple[Manifest, list[str]]:
    """Return a requirements file without what names a place, and the files that it includes."""
    kept: list[str] = []
    left_out: list[str] = []
    included: dict[str, str] = {}
    for number, line in _lines(text):
        words = _COMMENT.sub("", line).strip()
        if include := _INCLUDE.match(words):
            if include["path"] not in included:
                included[include["path"]] = _beside(name, number, include["path"])
            if len(included) > MOST_FILES:
                raise InvalidInputError(f"`{name}` includes more than {MOST_FILES} files")
            kept.append(words)
        elif source := _SOURCE.match(words):
            left_out.append(f"line {number}: {source['option']}")
        elif _ELSEWHERE.match(words):
            left_out.append(f"line {number}: a folder, a file or an address")
        else:
            kept.append(words)
    if len(left_out) > MOST_TOLD:
        left_out[MOST_TOLD:] = [f"and {len(left_out) - MOST_TOLD} more lines"]
    text = "".join(f"{line}\n" for line in kept)
    manifest = Manifest(kind="pip", name=name, content=text.encode(), left_out=tuple(left_out))
    return manifest, list(included.values())


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with the number that it begins at; one that ends in a backslash goes on in the next."""
    parts: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield first, " ".join(parts)
            parts, first = [], number + 1
    if parts:
        yield first, " ".join(parts)


def _beside(name: str, number: int, path: str) -> str:
    """Return what a requirements file includes, relative to the project.

    The path is hostile and may hold a password (`-r https://me:word@host/x.txt`): it is not repeated.

    Raises:
        InvalidInputError: When it is outside of the project, or is not called as a requirements file is.
    """
    joined = os.path.normpath(PurePosixPath(name).parent / path)
    if joined.startswith(("..", "/")):
        raise InvalidInputError(
            f"line {number} of `{name}` includes a file outside of the project",
            hint="copy it into the folder",
        )
    hidden = any(part.startswith(".") for part in PurePosixPath(joined).parts)
    if hidden or not _INCLUDED.fullmatch(joined) or default_globs("hide").find(joined):
        raise InvalidInputError(
            f"line {number} of `{name}` includes what is not called as a requirements file is",
            hint="expected a name ending in `.txt`, `.in` or `.pip`, no part of it hidden or a secret's",
        )
    return joined


def _pair(folder: Path, kind: Kind, name: str, locks: tuple[str, ...]) -> tuple[Manifest, ...]:
    for lock in locks:
        content = _read(folder, lock)
        if content is None:
            continue
        beside = _read(folder, name)
        if beside is None:
            raise InvalidInputError(f"`{lock}` is there without `{name}`, and both are needed")
        return (
            Manifest(kind=kind, name=name, content=beside),
            Manifest(kind=kind, name=lock, content=content),
        )
    return ()


def _read(folder: Path, name: str) -> bytes | None:
    """Return a file's bytes, None where there is none; no link is followed, on the way or at its end."""
    try:
        with _opened(folder, name) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise InvalidInputError(f"`{name}` is not a regular file")
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(
            f"`{name}` cannot be read: {(error.strerror or 'unknown error').lower()}",
            hint="a symbolic link is not followed",
        ) from error
    if len(content) > MOST_BYTES:
        raise InvalidInputError(f"`{name}` is larger than {MOST_BYTES} bytes")
    return content


def _opened(folder: Path, name: str) -> BinaryIO:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    *above, last = PurePosixPath(name).parts
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in above:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        return os.fdopen(os.open(last, flags, dir_fd=here), "rb")
    finally:
        os.close(here)


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"`{name}` is not UTF-8, at byte {error.start}") from error
