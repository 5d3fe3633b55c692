"""Keep what came of tasks in one folder: ledgers, patch, report and checkpoint of each."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.ci.summary import task_as_plain
from agent_runner.errors import InvalidInputError
from agent_runner.looking import look_at
from agent_runner.report.gather import Pins, gather_report
from agent_runner.report.page import render
from agent_runner.review import label_lines
from audit.bundle import write_bundle
from audit.state import StateFiles
from sandbox.stage.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.ci.outcome import TaskResult
    from agent_runner.ci.reading import Task

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Kept:
    """The folder of a run's results."""

    folder: Path

    def task(self, result: TaskResult, state: Path) -> None:
        """Keep one task's sessions, patch and report, for people and for whoever verifies them elsewhere.

        Raises:
            OSError: When it cannot be written.
            audit.errors.AuditError: When a ledger cannot be read.
        """
        place = self.folder / result.name
        place.mkdir(mode=0o700)
        if result.session:
            _keep_sessions(place, result, state)
        self.write(f"{result.name}/result.json", json.dumps(task_as_plain(result), indent=2) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write one file of the folder, this user's alone."""
        _write(self.folder / name, text.encode("utf-8", "backslashreplace"))


def new_folder(folder: Path, tasks: Sequence[Task]) -> Kept:
    """Make the folder of a run's results, or take one that is empty.

    Raises:
        InvalidInputError: When it holds something, or lies in a workspace, where agents would see it.
    """
    place = folder.resolve()
    for task in tasks:
        if task.workspace is not None and place.is_relative_to(task.workspace.resolve()):
            raise InvalidInputError(
                f"output folder `{folder}` lies in the workspace of task `{task.name}`",
                hint="name one outside of it",
            )
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise InvalidInputError(f"output folder `{folder}` is not empty", hint="name a new one")
    except OSError as error:
        what = str(error.strerror).lower()
        raise InvalidInputError(f"output folder `{folder}` cannot be used: {what}") from error
    return Kept(place)


def _keep_sessions(place: Path, result: TaskResult, state: Path) -> None:
    files = StateFiles(state)
    with os.fdopen(os.open(place / "ledger.tar.gz", _NEW, 0o600), "wb") as out:
        write_bundle(state, result.sessions, out)
    _write(place / "checkpoint", files.checkpoint.read_bytes())
    page = render(gather_report(state, result.session, Pins()))
    _write(place / "report.html", page.encode("utf-8", "backslashreplace"))
    session = files.session(result.session)
    try:
        patch = look_at(session, with_patch=True, for_program=True).patch.text
    except StageError:
        return  # nothing was staged
    head = "".join(f"{line}\n" for line in (*label_lines(session.folder), ""))
    _write(place / "changes.patch", head.encode() + patch if patch else b"")


def _write(target: Path, content: bytes) -> None:
    with os.fdopen(os.open(target, _NEW, 0o600), "wb") as out:
        out.write(content)
