"""Say which of an agent's changes decide what a check's command does: with one of them it writes the check.

They are what people's tools run or obey by themselves (the list of `policies`), the script or module that a
command names, modules in the place of Python's own, and Python's lists of plugins. What `apply` would refuse
is in no check's workspace, and counts as none.
"""

from __future__ import annotations

import posixpath
import re
import sys
from typing import TYPE_CHECKING, Final

from agent_runner.ci.command_words import looks_alone, runs_of
from sandbox.stage import MatchNothing
from sandbox.stage.changes import Concern
from sandbox.stage.verdict import decide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent_runner.ci.command_words import Runs
    from agent_runner.ci.task import Checks
    from sandbox.stage import Change, ChangeSet

_PLUGINS: Final = re.compile(r"(^|/)[^/]+\.(dist|egg)-info(/|$)")
"""Metadata of a package: its entry points are imported by whoever looks for plugins, as pytest does."""
_OF_ONE_TOOL: Final = frozenset(
    {
        "run by invoke",
        "run by fabric",
        "run by doit",
        "run by people who use django",
        "run by terraform, which starts programs",
        "chooses who must review a change",
    }
)
"""Reasons of the list that name one tool: a command that runs nothing else's files does not come to them."""


def steering(checks: Checks, changes: ChangeSet) -> Iterator[str]:
    """Yield the paths of changes that steer a command, but for those that may.

    Args:
        checks: The task's.
        changes: What the agent changed.
    """
    commands = [command.run for command in checks.commands]
    runs = [runs_of(words) for words in commands]
    alone = all(map(looks_alone, commands))
    for change in changes.changes:
        may = change.is_folder or any(glob.matches(change.path) for glob in checks.may_steer)
        if may or decide(change, MatchNothing()) is not None:
            continue
        if _is_listed(change, alone=alone) or any(_is_run(change, each) for each in runs):
            yield change.path


def _is_listed(change: Change, *, alone: bool) -> bool:
    if _PLUGINS.search(change.path):
        return True
    return Concern.RUNS_LATER in change.concerns and not (alone and change.later in _OF_ONE_TOOL)


def _is_run(change: Change, runs: Runs) -> bool:
    if change.path in runs.scripts:
        return True
    return change.before is None and (
        change.path in runs.stand_ins or _hides_pythons_own(change.path, runs.import_folders)
    )


def _hides_pythons_own(path: str, folders: Iterable[str]) -> bool:
    """Tell whether a module is found before the one of Python's library that has its name."""
    module = path.removesuffix(".py").removesuffix("/__init__")
    folder, name = posixpath.split(module)
    return folder in folders and name in sys.stdlib_module_names
