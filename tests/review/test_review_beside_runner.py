"""A review and a runner of one session: whoever holds its lock goes first, and the other is told so."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from agent_runner.discarding import discard_outputs, discard_stage
from agent_runner.errors import InvalidInputError
from agent_runner.review import Choice, apply_stage, finish_interrupted, opened
from agent_runner.reviewed import reviewed_sessions
from audit.errors import LedgerLockedError
from audit.lock import WriterLock, held_alone, is_held
from audit.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from audit.state import SessionFiles
    from sandbox.stage.changes import ChangeSet
    from tests.review.made import Made

LOCKED_SECONDS = 10
ENDED_SECONDS = 60

REVIEWS: dict[str, Callable[[SessionFiles, Path], object]] = {
    "applied": lambda files, state: apply_stage(files, state, Choice(shown=shown(files))),
    "discarded": discard_outputs,
}


def shown(files: SessionFiles) -> ChangeSet:
    """Return what a person is shown."""
    with opened(files.folder) as (_, changes):
        return changes


def changed(made: Made) -> SessionFiles:
    """Return an ended session that changed a file."""
    made.fill({"a": "1\n"})
    session = made.session(lambda inside: (inside / "a").write_text("agent\n"))
    return StateFiles(made.state).session(session)


@pytest.mark.parametrize("word", REVIEWS)
def test_no_runner_goes_on_with_a_session_while_its_changes_are_taken_or_thrown_away(
    made: Made, word: str
) -> None:
    """The review is held where it writes its decision down: the host's log is somebody else's."""
    files = changed(made)
    review = threading.Thread(target=REVIEWS[word], args=(files, made.state))
    with held_alone(StateFiles(made.state).lock):
        review.start()
        end = time.monotonic() + LOCKED_SECONDS
        while not is_held(files.lock) and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(LedgerLockedError):
            WriterLock(files.lock).release()
        undecided = reviewed_sessions(made.state)
    review.join(ENDED_SECONDS)

    assert (undecided, reviewed_sessions(made.state)) == ({}, {files.folder.name: word})
    WriterLock(files.lock).release()


@pytest.mark.parametrize("review", [*REVIEWS.values(), discard_stage], ids=[*REVIEWS, "stage"])
def test_a_review_is_refused_while_a_runner_holds_the_session(
    made: Made, review: Callable[[SessionFiles, Path], object]
) -> None:
    files = changed(made)
    runner = WriterLock(files.lock)
    try:
        with pytest.raises(InvalidInputError, match="is running") as caught:
            review(files, made.state)
    finally:
        runner.release()

    assert caught.value.hint == f"wait for its end, or `pairlock stop {files.folder.name}`"
    assert ((made.workspace / "a").read_text(), reviewed_sessions(made.state)) == ("1\n", {})
    review(files, made.state)
    assert list(reviewed_sessions(made.state)) == [files.folder.name]


def test_a_review_that_fails_lets_the_session_go_on(made: Made) -> None:
    files = changed(made)
    seen = shown(files)
    (files.folder / "stage/upper/b").write_text("since\n")

    with pytest.raises(InvalidInputError, match="not those that were shown"):
        apply_stage(files, made.state, Choice(shown=seen))

    WriterLock(files.lock).release()


def test_looking_at_a_session_takes_no_lock(made: Made) -> None:
    files = changed(made)
    files.lock.unlink()

    assert finish_interrupted(files, made.state) == ()
    assert made.pairlock("diff", files.folder.name).code == 0
    assert not files.lock.exists()
