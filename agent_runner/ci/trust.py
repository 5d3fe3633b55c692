"""Hold task files to what a person trusted: a repository's tasks choose no policy or folder themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.errors import RefusedError
from agent_runner.trust import changes, is_trusted

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.ci.reading import Task


def require_trusted(task: Task, *, state: Path) -> None:
    """Refuse a task that nobody trusted as it stands, with the policies that it names.

    Raises:
        RefusedError: When nobody did; what changed since it was last trusted is told.
    """
    if is_trusted(state, task.closure.digest):
        return
    hint = f"read it, then `pairlock ci trust {task.origin}`"
    changed = changes(state, task.closure)
    if changed is None:
        raise RefusedError(f"task `{task.origin}` is not trusted as it stands", hint=hint)
    raise RefusedError(
        f"task `{task.origin}`, or what it names, changed since it was trusted", hint=hint, detail=changed
    )
