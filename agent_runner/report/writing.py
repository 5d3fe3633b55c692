"""Write a report to a file: the whole page or nothing, readable by its owner only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path


def write_page(target: Path, page: str) -> None:
    """Write a page in the place of whatever regular file is there.

    Args:
        target: The file.
        page: The page.

    Raises:
        InvalidInputError: When the folder is missing, or something else than a regular file is in the place.
        OSError: When it cannot be written.
    """
    if not target.parent.is_dir():
        raise InvalidInputError(f"`{target}`: its folder does not exist", hint="make the folder first")
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise InvalidInputError(f"`{target}` is there and is no regular file", hint="name another file")
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
