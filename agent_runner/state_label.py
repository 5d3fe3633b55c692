"""Give a state folder a name of its own, by which an engine that several machines share knows what is its."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from audit.errors import StateFolderError
from audit.state import prepare, sync_folder
from sandbox.errands import Errands

if TYPE_CHECKING:
    from pathlib import Path

_FILE: Final = "label"
_FORM: Final = re.compile(rb"([0-9a-f]{16})\n")
_LONGEST: Final = 17
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MEND: Final = "remove it: a new one is made, and what old sessions left on the engine is not known any more"


def state_label(state: Path) -> str:
    """Return the 16 hexadecimal digits that a state folder's containers and volumes carry.

    They are random, not made from the folder's path: machines that share an engine mostly have the same path,
    and none of them can see whether the runner of another's session lives.

    Args:
        state: The state folder; it is made if need be.

    Raises:
        StateFolderError: When the folder, or the file in it, is not as it was made.
    """
    file = state / _FILE
    try:
        return _read(file)
    except FileNotFoundError:
        prepare(state)
    _make(file)
    return _read(file)


def errands_of(state: Path) -> Errands:
    """Return the names for what is made on the way for a state folder, and by which `clean` finds it.

    Raises:
        StateFolderError: When the folder, or its label, is not as it was made.
    """
    return Errands(state, state_label(state))


def _read(file: Path) -> str:
    """Return what the file holds.

    Raises:
        FileNotFoundError: When there is none yet.
        StateFolderError: When it is a link, somebody else's, or holds something else.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unfit(file) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise _unfit(file)
        found = _FORM.fullmatch(os.read(descriptor, _LONGEST + 1))
    finally:
        os.close(descriptor)
    if found is None:
        raise _unfit(file)
    return found[1].decode()


def _make(file: Path) -> None:
    """Put a fresh one in place, whole; when another process is first, its own holds."""
    label = secrets.token_hex(8)
    fresh = file.with_name(f".{_FILE}.{label}.new")
    try:
        descriptor = os.open(
            fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(f"{label}\n".encode())
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):
                os.link(fresh, file)
        finally:
            fresh.unlink()
        sync_folder(file.parent)
    except OSError as error:
        why = (error.strerror or "it cannot be written").lower()
        raise StateFolderError(f"`{file}` cannot be made: {why}", hint="see to it that it can be") from error


def _unfit(file: Path) -> StateFolderError:
    return StateFolderError(
        f"`{file}` is not the state folder's label, expected 16 hexadecimal digits in a file of yours",
        hint=_MEND,
    )
