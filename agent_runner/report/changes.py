"""Tell what a session left in its stage, file by file; it is read when asked, and no part of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.errors import RunnerError
from agent_runner.report.quantity import size
from agent_runner.report.visible import visible, visible_line
from agent_runner.review import opened
from audit.lock import is_held
from policies.errors import PolicyError
from sandbox.errors import SandboxError
from sandbox.stage.diff import render_diff
from sandbox.stage.errors import StageError
from sandbox.stage.summary import LETTERS

if TYPE_CHECKING:
    from agent_runner.report.step import Json
    from audit.state import SessionFiles
    from sandbox.stage.changes import Change
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.sides import Side

LARGEST_FILE_BYTES: Final = 2 * 2**20
"""Longest file, before and after together, whose difference is shown."""
ROOM_BYTES: Final = 8 * 2**20
"""Bytes of differences that one page shows."""
MOST_FILES: Final = 2000
"""Changes that one page names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One path that the session changed."""

    path: str
    renamed_from: str
    """Empty where it has no other name."""
    letter: str
    """As in `git diff --name-status`."""
    sizes: str
    concerns: tuple[str, ...]
    """Why it needs more than a glance."""
    later: str
    """What may run it on the user's machine; empty when nothing does."""
    conflict: str
    """What the user did to it meanwhile; empty when nothing."""
    patch: str
    """A unified diff; empty where there is none to show."""
    why_not: str
    """Why there is none; empty where there is one."""

    def as_json(self) -> Json:
        """Return the change as the page reads it."""
        name = f"{self.renamed_from} -> {self.path}" if self.renamed_from else self.path
        return {
            "path": visible_line(name),
            "letter": self.letter,
            "sizes": self.sizes,
            "concerns": list(self.concerns),
            "later": visible_line(self.later),
            "conflict": visible_line(self.conflict),
            "patch": visible(self.patch),
            "why_not": visible_line(self.why_not),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StageShown:
    """What the stage holds; or why that cannot be shown."""

    files: tuple[FileChange, ...] = ()
    left_out: int = 0
    """Changes that the page does not name."""
    troubles: tuple[str, ...] = ()
    """What could not be read, and so is not among the changes."""
    why_not: str = ""
    """Why nothing is shown; empty where something could be."""

    @property
    def later(self) -> tuple[FileChange, ...]:
        """Return the changes that may run on the user's machine later."""
        return tuple(file for file in self.files if file.later)


def read_stage(session: SessionFiles) -> StageShown:
    """Return what a session's stage holds, as far as it can be read."""
    if not (session.folder / "stage").is_dir():
        return StageShown(why_not="the session has no stage")
    if is_held(session.lock):
        return StageShown(why_not="the session is running: what it changed is shown when it has ended")
    try:
        with opened(session.folder) as (stage, changes):
            files = tuple(_shown(stage, changes.changes))
            troubles = tuple(f"{trouble.path}: {trouble.reason}" for trouble in changes.troubles)
            left_out = max(0, len(changes.changes) - MOST_FILES)
    except (StageError, SandboxError, RunnerError, PolicyError, OSError) as error:
        return StageShown(why_not=str(getattr(error, "message", "") or error))
    return StageShown(files=files, left_out=left_out, troubles=troubles)


def _shown(stage: OpenStage, changes: tuple[Change, ...]) -> list[FileChange]:
    found, room = [], ROOM_BYTES
    by_path = {change.path: change for change in changes}
    for change in changes[:MOST_FILES]:
        if change.renamed_to in by_path:
            continue  # it is told with its new name
        patch, why_not = _patch(stage, change, by_path.get(change.renamed_from), room)
        room -= len(patch)
        found.append(_file_change(change, patch, why_not))
    return found


def _patch(stage: OpenStage, change: Change, source: Change | None, room: int) -> tuple[str, str]:
    long = sum(_bytes(side) for side in (change.before, change.after))
    if long > LARGEST_FILE_BYTES:
        return "", f"longer than {size(LARGEST_FILE_BYTES)}; `pairlock diff` shows it"
    if long > room:
        return "", "no room is left on this page; `pairlock diff` shows it"
    rendered = render_diff(stage, (source, change) if source else (change,))
    if rendered.left_out:
        return "", rendered.left_out[0].reason
    if len(rendered.text) > LARGEST_FILE_BYTES:
        return "", f"its difference is longer than {size(LARGEST_FILE_BYTES)}; `pairlock diff` shows it"
    return rendered.text.decode("utf-8", "surrogateescape"), ""


def _file_change(change: Change, patch: str, why_not: str) -> FileChange:
    return FileChange(
        path=change.path,
        renamed_from=change.renamed_from,
        letter=LETTERS[change.kind],
        sizes=f"{size(_bytes(change.before))} -> {size(_bytes(change.after))}",
        concerns=tuple(sorted(concern.value for concern in change.concerns)),
        later=change.later,
        conflict=change.conflict,
        patch=patch,
        why_not=why_not,
    )


def _bytes(side: Side | None) -> int:
    return side.size if side is not None and side.kind.value == "file" else 0
