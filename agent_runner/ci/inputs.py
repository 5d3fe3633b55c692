"""Copy the files that a task takes as its inputs: plain files alone, bounded together."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from agent_runner.errors import InvalidInputError
from agent_runner.policy_file import resolved
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent_runner.ci.reading import Task

LARGEST_INPUTS: Final = 1024 * 1024 * 1024
"""Bytes, of all inputs of a task together."""
_CHUNK_BYTES: Final = 1024 * 1024
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def require_inputs(task: Task) -> None:
    """Refuse a task whose inputs could not be copied as they are now.

    Raises:
        InvalidInputError: As `copy_inputs` does, with the place in the task file.
    """
    folder, left = resolved(Path(task.origin)).parent, LARGEST_INPUTS
    for place, path in enumerate(task.file.inputs):
        with task.places.told_at("inputs", place), _input(path, folder, left) as source:
            left -= os.fstat(source.fileno()).st_size


def copy_inputs(paths: Sequence[str], folder: Path, target: Path) -> None:
    """Copy files into an empty folder, each under its own last name.

    Args:
        paths: Relative to the task file's folder.
        folder: That folder.
        target: Where the copies go.

    Raises:
        InvalidInputError: When one is no plain file, is reached through a link, or all are too large.
    """
    left = LARGEST_INPUTS
    for path in paths:
        with _input(path, folder, left) as source:
            copy = os.open(target / Path(path).name, _NEW, 0o600)
            with os.fdopen(copy, "wb") as out:
                left -= _copied(source, out, left)


@contextmanager
def _input(path: str, folder: Path, left: int) -> Iterator[BinaryIO]:
    """Open an input that has at most as many bytes as are left."""
    place = Path(os.path.normpath(folder / path))
    if str(place) != os.path.realpath(place):
        raise InvalidInputError(
            f"input {quoted(path)} is reached through a symlink", hint="name the file itself"
        )
    with _opened(path, place, left) as source:
        yield source  # what goes wrong with the copy is no fault of the input's


def _opened(path: str, place: Path, left: int) -> BinaryIO:
    try:
        # A pipe has no writer to wait for; what it is shows afterwards.
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        source = os.fdopen(descriptor, "rb")
    except OSError as error:
        what = str(error.strerror).lower()
        raise InvalidInputError(f"input {quoted(path)} cannot be read: {what}") from error
    told = os.fstat(descriptor)
    if stat.S_ISREG(told.st_mode) and told.st_size <= left:
        return source
    source.close()
    if stat.S_ISREG(told.st_mode):
        raise _too_large()
    raise InvalidInputError(f"input {quoted(path)} is no plain file")


def _copied(source: BinaryIO, out: BinaryIO, left: int) -> int:
    """Copy what an input holds, and return how much; one that grows meanwhile is bounded as well."""
    size = 0
    while chunk := source.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > left:
            raise _too_large()
        out.write(chunk)
    return size


def _too_large() -> InvalidInputError:
    return InvalidInputError(f"the inputs have more than {LARGEST_INPUTS} bytes together")
