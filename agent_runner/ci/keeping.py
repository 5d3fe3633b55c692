"""Keep what came of tasks in one folder: ledgers, patch, report and checkpoint of each."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.ci.handing import outputs_path, result_path
from agent_runner.ci.summary import task_as_plain
from agent_runner.ci.task_outputs import remove_outputs
from agent_runner.looking import look_at
from agent_runner.report.gather import Pins, gather_report
from agent_runner.report.page import render
from agent_runner.review import label_lines
from audit.bundle import write_bundle
from audit.state import StateFiles, write_private
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.ci.outcome import TaskResult

OUTPUTS: Final = "outputs"
"""Name of the folder of a task's outputs in the task's."""
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
        remove_outputs(place / OUTPUTS, state)
        remove_tree(place)  # what a killed process half kept
        place.mkdir(mode=0o700)
        if result.session:
            _keep_sessions(place, result, state)
        if (outputs := outputs_path(self.folder, result.name)).is_dir():
            outputs.rename(place / OUTPUTS)
        self.write(f"{result.name}/result.json", json.dumps(task_as_plain(result), indent=2) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write one file of the folder, this user's alone; what an interrupted run left of it is replaced."""
        write_private(self.folder / name, text.encode("utf-8", "backslashreplace"))

    def set_aside(self, case: str, attempt: int) -> None:
        """Make room for another attempt at a case; what came of this one stays beside it."""
        aside = self.folder / f"{case}.attempt-{attempt}"
        remove_tree(aside)
        if (self.folder / case).exists():
            (self.folder / case).rename(aside)
        result_path(self.folder, case).unlink(missing_ok=True)


def _keep_sessions(place: Path, result: TaskResult, state: Path) -> None:
    files = StateFiles(state)
    _keep_ledgers(place / "ledger.tar.gz", result.sessions, state)
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


def _keep_ledgers(target: Path, sessions: Sequence[str], state: Path) -> None:
    """Write the bundle of a task's ledgers; one that is refused leaves no file that looks like evidence."""
    try:
        with os.fdopen(os.open(target, _NEW, 0o600), "wb") as out:
            write_bundle(state, sessions, out)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write(target: Path, content: bytes) -> None:
    with os.fdopen(os.open(target, _NEW, 0o600), "wb") as out:
        out.write(content)
