"""Read what decides over sessions, a policy or declared commands, where nobody else could write it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError
from policies.document import LARGEST_TEXT
from policies.wording import escaped

if TYPE_CHECKING:
    from pathlib import Path


def read_owned_file(path: Path, *, what: str) -> str:
    """Read a text from a file that nobody else could have written.

    Args:
        path: The file.
        what: How messages call it.

    Raises:
        InvalidInputError: When it is missing, no regular file, too large, or others may write it.
    """
    named = escaped(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidInputError(f"{what} `{named}` is not a regular file")
    except OSError as error:
        raise InvalidInputError(f"{what} `{named}` cannot be read: {_lower(error.strerror)}") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if status.st_mode & stat.S_IWOTH or status.st_uid not in (0, os.getuid()):
            raise InvalidInputError(
                f"{what} `{named}` could have been written by somebody else",
                hint="it must belong to you or to root, and not be writable by all: `chmod o-w`",
            )
        raw = stream.read(LARGEST_TEXT + 1)
    if len(raw) > LARGEST_TEXT:
        raise InvalidInputError(f"{named}:1:1: the file is larger than {LARGEST_TEXT // 1024} KiB")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise InvalidInputError(f"{named}:{line}:{column}: not UTF-8", hint="save it as UTF-8") from error


def _lower(text: str | None) -> str:
    return (text or "unknown error").lower()
