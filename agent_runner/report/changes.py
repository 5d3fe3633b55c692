"""Tell what a session left in its stage, file by file; it is read when asked, and no part of the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agent_runner.errors import RunnerError
from agent_runner.report.quantity import size
from agent_runner.report.visible import page_bytes, short, visible, visible_line
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
"""What all differences may take, in bytes of the page: a hidden character takes up to 20 of them."""
NAMES_BYTES: Final = 4 * 2**20
"""What the names of changes may take, and what is told beside them; no difference can push them off."""
MOST_FILES: Final = 2000
"""Changes that one page names."""
MOST_TROUBLES: Final = 200
"""Paths that could not be read, and that one page names."""
LONGEST_TROUBLE: Final = 1024
"""Characters that it shows of one."""
_NO_ROOM: Final = "no room is left on this page; `pairlock diff` shows it"


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
    later_left_out: int = 0
    """How many of them may run on the user's machine later."""
    troubles: tuple[str, ...] = ()
    """What could not be read, and so is not among the changes."""
    troubles_left_out: int = 0
    """How much more could not be read."""
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
            files, left_out = _shown(stage, changes.changes)
    except (StageError, SandboxError, RunnerError, PolicyError, OSError) as error:
        return StageShown(why_not=str(getattr(error, "message", "") or error))
    return StageShown(
        files=tuple(files),
        left_out=len(left_out),
        later_left_out=sum(1 for change in left_out if change.later),
        troubles=tuple(
            f"{short(trouble.path, LONGEST_TROUBLE)}: {trouble.reason}"
            for trouble in changes.troubles[:MOST_TROUBLES]
        ),
        troubles_left_out=max(0, len(changes.troubles) - MOST_TROUBLES),
    )


def _shown(stage: OpenStage, changes: tuple[Change, ...]) -> tuple[list[FileChange], list[Change]]:
    """Return the changes that there is room to name, and those that there is none for."""
    found, left_out, room = [], [], ROOM_BYTES
    by_path = {change.path: change for change in changes}
    told = [change for change in changes if change.renamed_to not in by_path]  # the rest by its new name
    named = _named(told)
    for change in told:
        if change.path not in named:
            left_out.append(change)
            continue
        patch, why_not, taken = _patch(stage, change, by_path.get(change.renamed_from), room)
        room -= taken
        found.append(replace(named[change.path], patch=patch, why_not=why_not))
    return found, left_out


def _named(told: list[Change]) -> dict[str, FileChange]:
    """Return what there is room to name, by its path.

    INVARIANT: what may run later has its place before all else: no number of other files can push it off.
    """
    found: dict[str, FileChange] = {}
    room = NAMES_BYTES
    for change in sorted(told, key=lambda change: not change.later)[:MOST_FILES]:
        named = _file_change(change)
        weight = _weight(named)
        if weight <= room:
            room -= weight
            found[change.path] = named
    return found


def _weight(named: FileChange) -> int:
    """Return the bytes of a page that a change takes without its difference."""
    return sum(page_bytes(text) for text in named.as_json().values() if isinstance(text, str))


def _patch(stage: OpenStage, change: Change, source: Change | None, room: int) -> tuple[str, str, int]:
    """Return a difference, or why there is none; and the bytes to be taken from the room.

    What was rendered and does not fit takes its own length, so that no session makes a report render
    without end.
    """
    long = sum(_bytes(side) for side in (change.before, change.after))
    if long > LARGEST_FILE_BYTES:
        return "", f"longer than {size(LARGEST_FILE_BYTES)}; `pairlock diff` shows it", 0
    if long > room:
        return "", _NO_ROOM, 0
    rendered = render_diff(stage, (source, change) if source else (change,))
    if rendered.left_out:
        return "", rendered.left_out[0].reason, 0
    if len(rendered.text) > LARGEST_FILE_BYTES:
        why_not = f"its difference is longer than {size(LARGEST_FILE_BYTES)}; `pairlock diff` shows it"
        return "", why_not, len(rendered.text)
    patch = rendered.text.decode("utf-8", "surrogateescape")
    taken = page_bytes(visible(patch))
    return (patch, "", taken) if taken <= room else ("", _NO_ROOM, len(rendered.text))


def _file_change(change: Change) -> FileChange:
    return FileChange(
        path=change.path,
        renamed_from=change.renamed_from,
        letter=LETTERS[change.kind],
        sizes=_sizes(change),
        concerns=tuple(sorted(concern.value for concern in change.concerns)),
        later=change.later,
        conflict=change.conflict,
        patch="",
        why_not="",
    )


def _sizes(change: Change) -> str:
    """Return what was and what is there: sizes of files, of anything else the kind."""
    sides = (change.before, change.after)
    return " -> ".join(
        size(_bytes(side)) if side.kind.value == "file" else side.kind.value for side in sides if side
    )


def _bytes(side: Side | None) -> int:
    return side.size if side is not None and side.kind.value == "file" else 0
