"""Say where a task's session runs: in which workspace, and what of it no agent sees."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.approvals import NobodyApprover
from agent_runner.errors import InvalidInputError
from agent_runner.place import Place
from agent_runner.policy_file import LoadedPolicy
from agent_runner.policy_unseen import hiding
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agent_runner.ci.reading import Task
    from agent_runner.ci.task_outputs import Copies
    from agent_runner.transcript import Watcher
    from policies.policy import Policy
    from sandbox.runtime.engine import Progress
    from sandbox.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where tasks run, and who is told."""

    state: Path
    tell: Callable[[str], None]
    """Told one line of what goes on; not escaped."""
    progress: Progress
    watcher: Watcher
    began: Callable[[str], None]
    """Told the id of each session before it begins."""
    outputs: Copies | None = None
    """Where copies of a task's outputs go; None where no task is run."""
    recordings: tuple[Path, ...] = ()
    """Folders of recordings: no agent reads there what an earlier one did, or what is expected of it."""


def place_of(task: Task, bench: Bench) -> Place:
    """Return where a task's session runs: nobody to ask, and no destination from its prompt.

    Raises:
        InvalidInputError: When its folder cannot be a workspace, is reached through a link, or lies in that
            of the recordings.
    """
    with task.places.told_at("workspace"):
        workspace = _workspace(task.workspace, bench.state) if task.workspace else None
        if workspace is not None:
            _require_apart(workspace, bench.recordings)
    unseen = (*_own_files(task), *bench.recordings)
    policy = hiding(task.policy, (), workspace.path if workspace else None, secret=unseen)
    return Place(
        loaded=LoadedPolicy(policy=policy, origin=task.policy.name, path=None),
        workspace=workspace,
        state=bench.state,
        headless=True,
        approver=NobodyApprover(),
        progress=bench.progress,
    )


def check_policy_in(task: Task, tree: Path) -> Policy | None:
    """Return the policy of a task's command checks, with its own files hidden in what the session left.

    Raises:
        RefusedError: When they cannot be hidden there.
    """
    if task.check_policy is None or task.workspace is None:
        return task.check_policy
    folder = task.workspace.resolve()
    left = (tree / file.relative_to(folder) for file in _own_files(task) if file.is_relative_to(folder))
    return hiding(task.check_policy, (), tree, secret=left)


def _own_files(task: Task) -> Iterator[Path]:
    """Yield the files that a task and its policies were read from: its checks are not to be learnt."""
    return (Path(text.origin) for text in task.closure.texts if text.origin.startswith("/"))


def _workspace(named: Path, state: Path) -> Workspace:
    """Open the folder that a task names, where no link leads elsewhere: what is looked at may hold links."""
    workspace = open_workspace(named, state=state)
    if str(workspace.path) != os.path.normpath(named):
        raise InvalidInputError(
            f"workspace `{named}` is reached through a symlink",
            hint=f"name `{workspace.path}` if it is meant",
        )
    return workspace


def _require_apart(workspace: Workspace, recordings: Iterable[Path]) -> None:
    for folder in recordings:
        if workspace.path.is_relative_to(folder.resolve()):
            raise InvalidInputError(
                f"workspace `{workspace.path}` lies in the folder of the recordings, which no agent sees",
                hint="keep recordings in a folder of their own, as in `tasks/recordings`",
            )
