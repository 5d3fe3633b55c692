"""Bind the paths of recorded actions: to the folders that a command used, and to no file beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.commands import LONGEST_VALUE, ValuePattern
from policies.errors import BadValueError
from policies.globs import WORKSPACE, canonical_path
from policies.sinks import each_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.request import ActionRequest

MOST_FOLDERS: Final = 64  # of one argument: more are written as what lies below the workspace's own folders


def is_exact(text: str) -> bool:
    """Tell whether a value can be written so that it means itself: a star means whatever is put there."""
    return 0 < len(text) <= LONGEST_VALUE and "*" not in text


def path_bounds(calls: Sequence[ActionRequest]) -> dict[str, tuple[ValuePattern, ...]]:
    """Say which paths the arguments of one command had.

    Args:
        calls: Every recorded call of the command.

    Returns:
        Argument -> `folder/*` for each folder in which a path lay, and the names that lay in the workspace
        itself; without those that no value can say, which may be none. An argument that was not given each
        time, or that was no path each time, has no bound: a rule would refuse those calls.
    """
    names = dict.fromkeys(name for call in calls for name in call.arguments)
    found = {name: _bound(name, calls) for name in names}
    return {name: patterns for name, patterns in found.items() if patterns is not None}


def _bound(name: str, calls: Sequence[ActionRequest]) -> tuple[ValuePattern, ...] | None:
    values: dict[str, None] = {}
    for call in calls:
        given = list(each_value(call.arguments.get(name)))
        touched = {use.path for use in call.paths}
        if not given or not touched.issuperset(given):
            return None
        values.update(dict.fromkeys(given))
    for places in (_folder, _top):
        texts = dict.fromkeys(place for value in values if (place := places(value)))
        if len(texts) <= MOST_FOLDERS:
            return tuple(map(ValuePattern, texts))
    return None


def _folder(path: str) -> str | None:
    """Return the folder of a path with what lies below, or the path as it was spelled."""
    folder = path.rpartition("/")[0]
    if not folder or not _is_canonical(path):
        return path if is_exact(path) else None
    if "*" in folder:
        return None
    return f"{folder}/*" if is_exact(f"{folder}//") else _top(path)


def _top(path: str) -> str | None:
    """Return the folder of the workspace itself in which a path lies, with what lies below."""
    before = f"{WORKSPACE}/" if path.startswith(f"{WORKSPACE}/") else ""
    inside = path.removeprefix(before)
    top, slash, _ = inside.partition("/")
    if not slash or not _is_canonical(inside):
        return path if is_exact(path) else None
    return f"{before}{top}/*" if is_exact(f"{before}{top}//") else None


def _is_canonical(path: str) -> bool:
    try:
        return canonical_path(path) == path
    except BadValueError:
        return False
