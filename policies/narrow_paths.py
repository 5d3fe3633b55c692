"""Bind the paths of recorded actions: to the folders that a command used, and to no file beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.commands import LONGEST_VALUE, ValuePattern
from policies.errors import BadValueError
from policies.globs import canonical_path
from policies.sinks import each_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.request import ActionRequest

MOST_FOLDERS: Final = 64  # of one argument: more are written as what lies below the workspace's own folders


def path_bounds(calls: Sequence[ActionRequest]) -> dict[str, tuple[ValuePattern, ...]]:
    """Say which paths the arguments of one command had.

    Args:
        calls: Every recorded call of the command.

    Returns:
        Argument -> `folder/*` for each folder in which a path lay, and the names that lay in the workspace
        itself. An argument that was not given each time, or that was no path each time, has no bound: a rule
        would refuse those calls.
    """
    names = dict.fromkeys(name for call in calls for name in call.arguments)
    found = {name: _bound(name, calls) for name in names}
    return {name: patterns for name, patterns in found.items() if patterns}


def _bound(name: str, calls: Sequence[ActionRequest]) -> tuple[ValuePattern, ...]:
    values: dict[str, None] = {}
    for call in calls:
        given = list(each_value(call.arguments.get(name)))
        touched = {use.path for use in call.paths}
        if not given or not touched.issuperset(given):
            return ()
        values.update(dict.fromkeys(given))
    try:
        return tuple(map(ValuePattern, _patterns(values)))
    except BadValueError:  # a path that no pattern can hold: `*` alone
        return ()


def _patterns(values: dict[str, None]) -> tuple[str, ...]:
    patterns = tuple(dict.fromkeys(_folder(value) for value in values))
    if len(patterns) > MOST_FOLDERS:
        patterns = tuple(dict.fromkeys(_top(value) for value in values))
    return patterns if len(patterns) <= MOST_FOLDERS else ()


def _folder(path: str) -> str:
    folder = canonical_path(path).rpartition("/")[0]
    if not folder or canonical_path(path) != path:
        return path
    return f"{folder}/*" if len(folder) < LONGEST_VALUE - 1 else _top(path)


def _top(path: str) -> str:
    top, slash, _ = path.partition("/")
    return f"{top}/*" if slash else path
