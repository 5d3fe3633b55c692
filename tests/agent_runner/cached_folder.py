"""Keep what tests install outside of the checkout, so that a second run finds it: whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pairlock-tests"
_WHOLE: Final = "whole"


def cached(name: str, install: Callable[[Path], None]) -> Path:
    """Return a folder that was made once.

    It is made where it stays, for environments hold their own path; a mark says that it is whole.

    Args:
        name: Changes with whatever the folder is made of.
        install: Fills it; when it fails, nothing stays.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _WHOLE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                install(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            (folder / _WHOLE).touch()
    return folder
