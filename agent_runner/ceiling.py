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
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"the ceiling `{path}` cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        alone = status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISREG(status.st_mode) or not alone:
            raise RefusedError(
                f"the ceiling `{path}` is not root's alone to write", hint="`chown root` and `chmod go-w` it"
            )
        text = stream.read(MAXIMUM_BYTES).decode("utf-8", "replace")
    return parse_ceiling(text, origin=str(path))
