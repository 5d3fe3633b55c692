"""The policies that ship with the package."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from policies.source import SourceText

_SUFFIX = ".yaml"


@lru_cache(maxsize=1)
def library_names() -> tuple[str, ...]:
    """List the library.

    Returns:
        The names of its policies, sorted.
    """
    files = resources.files("policies").joinpath("library").iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def library_policy(name: str) -> SourceText | None:
    """Find a policy of the library.

    Args:
        name: Its name, whole.

    Returns:
        Its text, or None when there is none of that name.
    """
    if name not in library_names():
        return None
    text = resources.files("policies").joinpath("library", name + _SUFFIX).read_text(encoding="utf-8")
    return SourceText(f"library/{name}", text)
