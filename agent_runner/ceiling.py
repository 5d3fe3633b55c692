"""Read the operator's ceiling: a system-wide file that no policy, flag or variable can exceed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from agent_runner.errors import RefusedError
from policies.ceiling import Ceiling, parse_ceiling

PATH: Final = Path("/etc/pairlock/ceiling.yaml")
MAXIMUM_BYTES: Final = 1024 * 1024


def read_ceiling(path: Path = PATH) -> Ceiling | None:
    """Return the ceiling, None when the operator has set none.

    Args:
        path: Where it lies; another one only in tests, because nothing on a command line may move it.

    Raises:
        RefusedError: When it is there and cannot be read, or is not root's alone to write: then nothing runs.
        policies.errors.PolicyError: When its text is not a ceiling.
    """
    _require_roots_alone(path.parent)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"the ceiling `{path}` cannot be read: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not _is_roots_alone(status):
        os.close(descriptor)
        raise RefusedError(
            f"the ceiling `{path}` is no file that is root's alone to write",
            hint="`chown root` and `chmod go-w` it",
        )
    with os.fdopen(descriptor, "rb") as stream:
        raw = stream.read(MAXIMUM_BYTES)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RefusedError(f"{path}:{line}: the ceiling is not UTF-8", hint="save it as UTF-8") from error
    return parse_ceiling(text, origin=str(path))


def _is_roots_alone(status: os.stat_result) -> bool:
    return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _require_roots_alone(folder: Path) -> None:
    """Refuse a folder in which others could replace the ceiling, or take it away."""
    try:
        status = folder.stat()
    except OSError:
        return  # no folder, or none that can be looked into: opening the file says which
    if not _is_roots_alone(status):
        raise RefusedError(
            f"the ceiling's folder `{folder}` is not root's alone to write",
            hint="`chown root` and `chmod go-w` it",
        )
