"""Make the workspace that a task describes: a commit of a repository, or copies of files. Nothing runs."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.ci.fetching import fetch_commit
from agent_runner.ci.inputs import copy_inputs
from agent_runner.lineage import counting_for, label_copy, removed
from agent_runner.lineage_places import joined
from agent_runner.policy_file import resolved
from sandbox.stage.discard import remove_tree
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.ci.reading import Task


async def with_workspace(task: Task, target: Path, *, state: Path) -> Task:
    """Return a task with the workspace that it describes; as it is, where it names a folder or none.

    Args:
        task: The task.
        target: Where a workspace is made; what is there is replaced.
        state: The state folder: what is copied takes the labels along that count where it was.

    Raises:
        InvalidInputError: When a commit cannot be had, or an input is none.
    """
    if task.file.checkout is None and not task.file.inputs:
        return task
    await asyncio.to_thread(_new_folder, target, state)
    if task.file.checkout is not None:
        await fetch_commit(task.file.checkout, target)
    else:
        folder = resolved(Path(task.origin)).parent
        await asyncio.to_thread(_label, task.file.inputs, folder, target, state)
        await asyncio.to_thread(copy_inputs, task.file.inputs, folder, target)
        await asyncio.to_thread(_label, task.file.inputs, folder, target, state)  # what came meanwhile
    return replace(task, workspace=target)


def _new_folder(target: Path, state: Path) -> None:
    if target.is_dir():  # what a killed process left
        identity = identity_of(target)
        remove_tree(target)
        removed(state, identity)
    target.mkdir(mode=0o700)


def _label(paths: Sequence[str], folder: Path, target: Path, state: Path) -> None:
    """Let everything count for the copies that counts where the files are."""
    sources = dict.fromkeys(Path(os.path.realpath(folder / path)).parent for path in paths)
    there = [around for around in sources if around.is_dir()]  # else it is told when it is copied
    whole = joined(counting_for(state, identity_of(around)) for around in there)
    why = "inputs of a task were copied from a labelled folder"
    label_copy(state, identity_of(target), whole, why=why)
