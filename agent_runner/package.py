"""Say which version of pairlock this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def pairlock_version() -> str:
    """Return the installed version; `unknown` when run from a folder that was never installed."""
    try:
        return version("pairlock")
    except PackageNotFoundError:
        return "unknown"
