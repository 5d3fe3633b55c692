"""Write files where a person asked for them, and never where a link leads that somebody committed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from agent_runner.ci.source_tree import source_tree
from agent_runner.errors import InvalidInputError

_DEVICES: Final = Path("/dev")
_HINT: Final = "name a file in a folder that is there"


def require_writable(path: Path) -> None:
    """Refuse a file that could not be written, or would be written somewhere else.

    Raises:
        InvalidInputError: When its folder is not there, it is a folder or a symlink itself, or a symlink of
            the checked-out tree leads to it. Names below `/dev` may be links, as `/dev/stdout` is one.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInputError(f"`{path}` cannot be written", hint=_HINT)
    if link := _link(path):
        raise InvalidInputError(
            f"`{path}` cannot be written: `{link}` is a symlink", hint="name a file that no link leads to"
        )


def write_copy(path: Path, text: str) -> None:
    """Write a file; a symlink that has come into its place is not followed.

    Raises:
        InvalidInputError: When it cannot be written, or `require_writable` refuses it.
    """
    require_writable(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags if _is_device(path) else flags | os.O_NOFOLLOW, 0o666)
        with os.fdopen(descriptor, "wb") as out:
            out.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        what = str(error.strerror).lower()
        raise InvalidInputError(f"`{path}` cannot be written: {what}", hint=_HINT) from error


def require_own_folder(path: Path) -> None:
    """Refuse a folder for what a run leaves that a symlink of the checked-out tree is, or leads to.

    Raises:
        InvalidInputError: When it is, naming the link.
    """
    root, whole = _checked_out(), Path.cwd() / path
    inside = (each for each in (whole, *whole.parents) if each.parent.resolve().is_relative_to(root))
    if link := next((each for each in inside if each.is_symlink()), None):
        raise InvalidInputError(
            f"folder `{path}` cannot be used: `{link}` is a symlink",
            hint="name a folder that no link of the checked-out tree leads to",
        )


def make_folder(path: Path) -> None:
    """Make a folder, if it is not there.

    Raises:
        InvalidInputError: When it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = str(error.strerror).lower()
        raise InvalidInputError(f"folder `{path}` cannot be made: {what}", hint="name another") from error


def _link(path: Path) -> Path | None:
    """Return the symlink that is the file, or that leads to it and lies below the checked-out tree."""
    if _is_device(path):
        return None
    if path.is_symlink():
        return path
    root, whole = _checked_out(), Path.cwd() / path
    inside = (each for each in reversed(whole.parents) if each.parent.resolve().is_relative_to(root))
    return next((each for each in inside if each.is_symlink()), None)


def _checked_out() -> Path:
    """Return the checked-out tree; all of the repository around it, which may have committed links, too."""
    root = source_tree(os.environ).root
    return next((each for each in (root, *root.parents) if os.path.lexists(each / ".git")), root)


def _is_device(path: Path) -> bool:
    return Path(os.path.normpath(Path.cwd() / path)).is_relative_to(_DEVICES)
