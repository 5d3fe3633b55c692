"""Keep the files that a task asks for: copies of what an agent made, and no link, mode or owner of it.

Their folder has the label of what they were copied from.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agent_runner.ci.outcome import FAILED, CheckResult
from agent_runner.lineage import counting_for, label_copy, removed
from sandbox.stage.beneath import Beneath
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import PathRefusedError
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Where copies of a task's outputs go."""

    made: Path
    """A folder of this user's alone, not there yet: made when there is something to copy."""
    kept: Path
    """Where that folder is moved to, once the task has ended."""
    state: Path
    """The state folder, which knows the labels."""


def name_of_output(path: str) -> str:
    """Return what the check is called that an output is there."""
    return f"output: {path}"


def kept_outputs(paths: Sequence[str], tree: Path | None, copies: Copies | None) -> Iterator[CheckResult]:
    """Copy outputs, and yield for each whether it was there.

    Args:
        paths: Files, relative to what the agent left.
        tree: The folder that its changes lead to, or its kept outputs; None where there is neither.
        copies: Where they go; None keeps nothing.
    """
    for path in paths:
        why = "nothing was kept" if tree is None or copies is None else _copied(path, tree, copies)
        yield CheckResult(name=name_of_output(path), code=FAILED if why else 0, why=why)


def remove_outputs(folder: Path, state: Path) -> None:
    """Remove such a folder where there is one, and then its label."""
    if folder.is_dir() and not folder.is_symlink():
        identity = identity_of(folder)
        remove_tree(folder)
        removed(state, identity)


def _copied(path: str, tree: Path, copies: Copies) -> str:
    place = copies.made / path
    try:
        with Beneath.open(tree) as beneath, beneath.file(path) as source:
            if not copies.made.is_dir():
                _make(copies, tree)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (
                os.fdopen(os.dup(source), "rb") as content,
                os.fdopen(os.open(place, _NEW, 0o600), "wb") as out,
            ):
                shutil.copyfileobj(content, out)
    except PathRefusedError as error:
        return error.reason
    except OSError as error:
        return f"it cannot be kept: {str(error.strerror).lower()}"
    return ""


def _make(copies: Copies, tree: Path) -> None:
    """Make the folder with its label: another task may take what is in it for an input."""
    copies.made.mkdir(mode=0o700)
    identity = replace(identity_of(copies.made), path=str(copies.kept.absolute()))
    why = "outputs of a task, which nobody has reviewed"
    label_copy(copies.state, identity, counting_for(copies.state, identity_of(tree)), why=why)
