"""Find git folders that are not called `.git`, so that what git obeys in them is judged as if they were."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from policies.globs import folded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_HEAD: Final = "head"
_PARTS: Final = (("objects", "refs"), ("commondir",))
"""What stands beside HEAD in a repository, and in a linked work tree's own folder (gitrepository-layout).

Git asks for no more than this, and on some filesystems it finds these names in any case.
"""
_NAMES: Final = frozenset(name for names in _PARTS for name in names)

_DOT_GIT: Final = re.compile(r"(\.git|git~1)[ .]*(:.*)?", re.DOTALL)
"""What some filesystem takes for `.git`, folded (git's path.c: is_ntfs_dotgit; utf8.c: is_hfs_dotgit)."""
_BETWEEN: Final = re.compile(r"[/\\]")
"""What ends a name on some filesystem."""


def is_dot_git(path: str) -> bool:
    """Tell whether a path is, or lies in, what git takes for a folder `.git` on some filesystem."""
    return any(map(_DOT_GIT.fullmatch, _BETWEEN.split(folded(path))))


def as_dot_git(path: str) -> tuple[str, ...]:
    """Return what a path with another spelling of `.git` is where that is `.git`; nothing for all others."""
    if not is_dot_git(path):
        return ()
    parts = _BETWEEN.split(path)
    spelled = "/".join(".git" if _DOT_GIT.fullmatch(folded(part)) else part for part in parts)
    return (spelled,) if spelled != path else ()


def git_folders(*trees: Collection[str]) -> frozenset[str]:
    """Return every folder, `""` for the top, that git would take for a repository, bare ones and others.

    Args:
        trees: Paths that are there or would be there after an apply, together.
    """
    heads = {path for tree in trees for path in tree if path[-4:].lower() == _HEAD}
    folders = {path[:-5] for path in heads if path[-5:-4] in {"", "/"}}
    if not folders:
        return frozenset()
    parts = {path.lower() for tree in trees for path in tree if path.rpartition("/")[2].lower() in _NAMES}
    return frozenset(folder for folder in folders if any(_beside(folder, names, parts) for names in _PARTS))


def as_git_names(path: str, folders: Iterable[str]) -> tuple[str, ...]:
    """Return a path's names as if each git folder that it lies in were called `.git`."""
    return tuple(
        f"{folder}/.git/{path[len(folder) + 1 :]}" if folder else f".git/{path}"
        for folder in folders
        if not folder or path.startswith(folder + "/")
    )


def _beside(folder: str, names: Iterable[str], parts: Collection[str]) -> bool:
    prefix = folder.lower() + "/" if folder else ""
    return all(prefix + name in parts for name in names)
