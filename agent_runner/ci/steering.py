"""Say which of an agent's changes decide what a check's command does: with one of them it writes the check.

They are what people's tools run or obey by themselves (the list of `policies`), the script or module that a
command names, and Python's lists of plugins. What `apply` would refuse is in no check's workspace, and counts
as none.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from sandbox.stage import MatchNothing
from sandbox.stage.changes import Concern
from sandbox.stage.verdict import decide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent_runner.ci.task import Checks
    from sandbox.stage import ChangeSet

_INTERPRETER: Final = re.compile(r"(python|pypy|perl|ruby|lua)[0-9.]*|(ba|da|z|k)?sh|node|php|deno|bun")
_PLUGINS: Final = re.compile(r"(^|/)[^/]+\.(dist|egg)-info(/|$)")
"""Metadata of a package: its entry points are imported by whoever looks for plugins, as pytest does."""
_TEXTS: Final = ("-c", "-e", "--eval", "-m")
"""What follows is no file of the workspace: program text, which stands in the task file, or a module."""


def steering(checks: Checks, changes: ChangeSet) -> Iterator[str]:
    """Yield the paths of changes that steer a command, but for those that may.

    Args:
        checks: The task's.
        changes: What the agent changed.
    """
    scripts = {name for command in checks.commands for name in scripts_of(command.run)}
    modules = {name for command in checks.commands for name in modules_of(command.run)}
    for change in changes.changes:
        may = any(glob.matches(change.path) for glob in checks.may_steer)
        if may or decide(change, MatchNothing()) is not None:
            continue
        stands_in = change.before is None and change.path in modules
        listed = Concern.RUNS_LATER in change.concerns or _PLUGINS.search(change.path)
        if listed or stands_in or change.path in scripts:
            yield change.path


def modules_of(words: Sequence[str]) -> Iterator[str]:
    """Yield the paths that, where they are new, stand in for the module that an interpreter runs."""
    if "-m" in words[1:-1] and _is_interpreter(words[0]):
        top = words[words.index("-m") + 1].partition(".")[0]
        yield from (f"{top}.py", f"{top}/__init__.py", f"{top}/__main__.py")


def scripts_of(words: Sequence[str]) -> Iterator[str]:
    """Yield the files of a workspace that a command runs: itself, and an interpreter's script.

    Args:
        words: The command.
    """
    program, *arguments = words
    if "/" in program:
        yield _inside(program)
    if not _is_interpreter(program):
        return
    for word in arguments:
        if word in _TEXTS:
            return
        if not word.startswith("-"):
            yield _inside(word)
            return


def _is_interpreter(program: str) -> bool:
    return _INTERPRETER.fullmatch(posixpath.basename(program)) is not None


def _inside(word: str) -> str:
    """Return a path as changes name it."""
    return posixpath.normpath(word.removeprefix("/workspace/"))
