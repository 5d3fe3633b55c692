"""Find what is wrong with an example of a declared command before anything of it is written or run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli_tools.declared.values import control_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli_tools.declared.document import DeclaredExample

_LONGEST_PART_BYTES: Final = 255
"""NAME_MAX of Linux."""
_LONGEST_NAME_BYTES: Final = 1024
"""Within PATH_MAX, with the folder before it."""


def example_faults(example: DeclaredExample) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield where in the example something is wrong, what, and the mend."""
    for name in example.files:
        for what, mend in _name(name):
            yield ("files", name), what, mend
        if any(other.startswith(f"{name}/") for other in example.files):
            yield ("files", name), f"`{name[:60]}` is a file, and a folder of another", "rename one of them"


def _name(name: str) -> Iterator[tuple[str, str]]:
    if control_in(name):
        yield f"file {name[:60]!a} holds control characters, or half of a UTF-16 pair", "name it without"
        return
    parts = name.split("/")
    if {"", ".", ".."} & set(parts):
        yield f"file `{name[:60]}` is not one of the workspace", "a relative path without `.` and `..`"
    longest = max(len(part.encode()) for part in parts)
    if longest > _LONGEST_PART_BYTES or len(name.encode()) > _LONGEST_NAME_BYTES:
        what = f"file `{name[:60]}` is too long"
        yield what, f"{_LONGEST_PART_BYTES} bytes for a part, {_LONGEST_NAME_BYTES} in all"
