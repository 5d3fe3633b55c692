"""A body too long for its line lies elsewhere, and what it commits to is held to it all the same."""

from pathlib import Path

import pytest

from audit.event import ActionFinished
from audit.fields import FileUse
from audit.openings import without
from audit.state import StateFiles
from audit.verdict import Disclosed, Undisclosed
from audit.verify import verify_session
from tests.audit.samples import SESSION, Recorder


@pytest.fixture
async def shown(recorder: Recorder) -> str:
    """Write an action that used many files, and return the commitment to what the model was shown of it."""
    async with recorder.journal() as journal:
        body = journal.commit("what the model was shown")
        await journal.record(
            ActionFinished(
                action=f"{SESSION}/1",
                outcome="ok",
                exit_code=0,
                duration_ms=1,
                output_bytes=0,
                files=tuple(FileUse(path=f"{number}/" + "x" * 90, access="read") for number in range(400)),
                body=body,
            )
        )
    return body.digest


def test_what_a_body_that_was_moved_out_commits_to_is_counted(state: Path, shown: str) -> None:
    assert verify_session(state, SESSION).disclosure == Disclosed(2, 0, 0)
    assert shown not in StateFiles(state).session(SESSION).events.read_text()


def test_a_value_deleted_behind_a_body_that_was_moved_out_is_missing(state: Path, shown: str) -> None:
    without(StateFiles(state).session(SESSION), {shown})

    assert verify_session(state, SESSION).disclosure == Undisclosed((shown,), ())
