"""Choose among tasks by name and by tag."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.ci.reading import Task


def filtered(tasks: Sequence[Task], words: Sequence[str]) -> list[Task]:
    """Return the tasks that one of the words means; all of them where there is none.

    Args:
        tasks: The tasks.
        words: Names and tags; `*` is any run of characters.

    Raises:
        InvalidInputError: When a word means no task: a run that checks nothing must not pass.
    """
    for word in words:
        if not any(_means(word, task) for task in tasks):
            names = ", ".join(task.name for task in tasks)
            raise InvalidInputError(f"filter `{word}` means no task", hint=f"there are {names}")
    return [task for task in tasks if not words or any(_means(word, task) for word in words)]


def _means(word: str, task: Task) -> bool:
    return any(fnmatchcase(each, word) for each in (task.name, *task.file.tags))
