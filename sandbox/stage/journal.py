"""Write down what an apply is about to do, so that one that was interrupted is finished or undone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sandbox.stage.base import Seen
from sandbox.stage.errors import StageBrokenError
from sandbox.stage.layout import write_private

if TYPE_CHECKING:
    from pathlib import Path


class Phase(StrEnum):
    """How far an apply had come."""

    PREPARE = "prepare"
    COMMIT = "commit"


class Verb(StrEnum):
    """What one step does, in the order in which an apply does them."""

    REMOVE = "remove"
    REMOVE_FOLDER = "remove-folder"
    MAKE_FOLDER = "make-folder"
    PLACE = "place"
    SET_MODE = "set-mode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that an apply does to one path."""

    verb: Verb
    path: str
    """Relative to the workspace."""
    spare: str = ""
    """Name in the apply's own folder: where the new content waits, and where the old one goes."""
    expected: Seen | None = None
    """What the user has at `path`; None for nothing."""
    inode: int = 0
    """`st_ino` of the new content that waits under `spare`; 0 when none does."""
    mode: int = 0
    """Permission bits to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """An apply that was begun."""

    phase: Phase
    yard: str
    """Name of the apply's own folder, at the top of the workspace."""
    steps: tuple[Step, ...]


def save_journal(target: Path, journal: Journal) -> None:
    """Write the journal durably."""
    write_private(target, json.dumps(asdict(journal)).encode())


def load_journal(source: Path) -> Journal | None:
    """Read the journal of an unfinished apply; None when there is none.

    Raises:
        StageBrokenError: When it is damaged.
    """
    try:
        told = json.loads(source.read_bytes())
        steps = tuple(_step(step) for step in told["steps"])
        return Journal(phase=Phase(told["phase"]), yard=str(told["yard"]), steps=steps)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageBrokenError(f"the journal `{source}` cannot be read: {error}") from error


def _step(told: dict[str, object]) -> Step:
    expected = told["expected"]
    return Step(
        verb=Verb(str(told["verb"])),
        path=str(told["path"]),
        spare=str(told["spare"]),
        expected=Seen(*expected) if isinstance(expected, list) else None,
        inode=int(str(told["inode"])),
        mode=int(str(told["mode"])),
    )
