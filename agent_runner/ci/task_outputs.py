"""Keep the files that a task asks for: copies of what an agent made, and no link, mode or owner of it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from agent_runner.ci.outcome import FAILED, CheckResult
from sandbox.stage.beneath import Beneath
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def name_of_output(path: str) -> str:
    """Return what the check is called that an output is there."""
    return f"output: {path}"


def kept_outputs(paths: Sequence[str], tree: Path | None, target: Path | None) -> Iterator[CheckResult]:
    """Copy outputs, and yield for each whether it was there.

    Args:
        paths: Files, relative to what the agent left.
        tree: The folder that its changes lead to, or its kept outputs; None where there is neither.
        target: A folder of this user's alone, for the copies; made when there is one. None keeps nothing.
    """
    for path in paths:
        why = "nothing was kept" if tree is None or target is None else _copied(path, tree, target)
        yield CheckResult(name=name_of_output(path), code=FAILED if why else 0, why=why)


def _copied(path: str, tree: Path, target: Path) -> str:
    place = target / path
    try:
        with Beneath.open(tree) as beneath, beneath.file(path) as source:
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
