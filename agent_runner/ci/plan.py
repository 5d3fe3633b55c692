"""Begin a run in a folder for its results, or go on with one that was ended half-way; one run at a time.

The folder's `.run` says which cases there are, each with the digest of what it rests on, and what came of
those that have ended. Its lock is held by the run and by every process of a task: none of them writes behind
the back of a run that goes on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.ci.handing import FOLDER, read_result
from agent_runner.ci.keeping import Kept
from agent_runner.ci.outcome import INTERRUPTED
from agent_runner.errors import InvalidInputError
from audit.state import StateFiles, write_private
from sandbox.stage.discard import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agent_runner.ci.outcome import TaskResult
    from agent_runner.ci.reading import Task

VERSION: Final = 1
WAIT_SECONDS: Final = 60.0
"""For processes of a run that was killed, which close their sessions in order."""
_FILE: Final = "plan.json"
_HALF_WRITTEN: Final = re.compile(r"\.plan\.json\.\d+\.[0-9a-f]+\.new")
"""As `write_private` calls a file that it has not finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run that may start its cases."""

    kept: Kept
    lock: int
    """A descriptor; whoever has it open keeps other runs out."""
    done: dict[str, TaskResult]
    """What came of cases before, by name."""
    again: int = 0
    """How many more had ended, for lack of a sandbox or a model, and are to run again."""


@contextmanager
def begun(folder: Path, cases: Sequence[Task], *, state: Path, resume: bool) -> Iterator[Begun]:
    """Hold a folder for the results of these cases.

    Args:
        folder: A new or empty one; with `resume`, that of a run of the same cases.
        cases: What is to run.
        state: The state folder: a result whose sessions it does not have is none of ours.
        resume: Whether what has ended there already is taken as it is.

    Raises:
        InvalidInputError: When it holds something else, lies in a workspace, where agents would see it, or
            another run is under way in it.
    """
    place = folder.resolve()
    _require_outside(folder, place, cases)
    _make(folder, place, resume=resume)
    lock = _lock(folder, place / FOLDER)
    try:
        plan: dict[str, int | dict[str, str]] = {
            "version": VERSION,
            "cases": {case.name: _digest(case) for case in cases},
        }
        if resume:
            _require_same(folder, place, plan)
            _sweep(place / FOLDER)
        else:
            _require_unplanned(folder, place)  # another run may have had the lock until now
            write_private(place / FOLDER / _FILE, json.dumps(plan, indent=1).encode() + b"\n")
        ended = _ended(place, cases, state) if resume else {}
        done = {name: result for name, result in ended.items() if not result.was_not_come_to}
        yield Begun(kept=Kept(place), lock=lock, done=done, again=len(ended) - len(done))
    finally:
        os.close(lock)


def _require_outside(folder: Path, place: Path, cases: Sequence[Task]) -> None:
    for task in cases:
        if task.workspace is not None and place.is_relative_to(task.workspace.resolve()):
            raise InvalidInputError(
                f"output folder `{folder}` lies in the workspace of task `{task.name}`",
                hint="name one outside of it",
            )


def _make(folder: Path, place: Path, *, resume: bool) -> None:
    try:
        if resume:
            if not (place / FOLDER / _FILE).is_file():
                raise InvalidInputError(
                    f"`{folder}` holds no run that could go on", hint="start it without `--resume`"
                )
            return
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_unplanned(folder, place)
        (place / FOLDER).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        what = str(error.strerror).lower()
        raise InvalidInputError(f"output folder `{folder}` cannot be used: {what}") from error


def _require_unplanned(folder: Path, place: Path) -> None:
    """Refuse a folder that holds anything but what a run left that ended before its plan was written."""
    inside = place / FOLDER
    left = inside.iterdir() if inside.is_dir() and not inside.is_symlink() else ()
    if {*place.iterdir()} - {inside} or any(not _HALF_WRITTEN.fullmatch(each.name) for each in left):
        raise InvalidInputError(
            f"output folder `{folder}` is not empty",
            hint="name a new one, or go on with the run in it with `--resume`",
        )


def _lock(folder: Path, inside: Path) -> int:
    """Return the lock, once the last process of a run that was killed has let go of it."""
    try:
        lock = os.open(inside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidInputError(
            f"`{folder}` holds no run that could go on: `{inside.name}` is no folder of its own"
        ) from error
    _require_ours(folder, lock)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise InvalidInputError(f"a run is under way in `{folder}`", hint="wait for it") from None
            time.sleep(0.2)
        else:
            return lock


def _sweep(inside: Path) -> None:
    """Remove what a run that was killed left: commits half fetched, and orders of processes that are gone."""
    for half_fetched in inside.glob(".fetching-*"):
        remove_tree(half_fetched)
    for order in inside.glob("*.order.json"):
        order.unlink()


def _require_ours(folder: Path, lock: int) -> None:
    """Refuse a folder that a checkout or somebody else made: what it says of its tasks is not ours."""
    told = os.fstat(lock)
    if told.st_uid != os.geteuid() or told.st_mode & 0o077:
        os.close(lock)
        raise InvalidInputError(
            f"`{folder}` holds no run of yours: others may write or read what is in it",
            hint="start the run anew in another folder",
        )


def _require_same(folder: Path, place: Path, plan: dict[str, int | dict[str, str]]) -> None:
    try:
        before = json.loads((place / FOLDER / _FILE).read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidInputError(f"`{folder}` holds no run that could go on") from error
    if before == plan:
        return
    then, now = _cases(before), _cases(plan)
    other = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    raise InvalidInputError(
        f"the run in `{folder}` is another one: `{other[0] if other else _FILE}` is not as it was",
        hint="go on with the same tasks, filters, shard and repetitions, or name a new folder",
    )


def _cases(plan: object) -> dict[str, object]:
    cases = plan.get("cases") if isinstance(plan, dict) else None
    return dict(cases) if isinstance(cases, dict) else {}


def _digest(case: Task) -> str:
    told = json.dumps([case.closure.digest, case.policy.digest, case.model, case.seed])
    return hashlib.sha256(told.encode()).hexdigest()


def _ended(place: Path, cases: Sequence[Task], state: Path) -> dict[str, TaskResult]:
    """Return what came of the cases that have ended; one that was interrupted has not."""
    ended, sessions = {}, {*StateFiles(state).session_ids()}
    for case in cases:
        with suppress(InvalidInputError):  # what cannot be read is done again
            result = read_result(place, case.name)
            if result is None or result.code == INTERRUPTED:
                continue
            if sessions.issuperset(result.sessions) and (result.session or result.code):
                ended[case.name] = result
    return ended
