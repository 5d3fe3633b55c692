"""A body too long for its line lies elsewhere, and what it commits to is held to it all the same."""

import gzip
import json
import os
from pathlib import Path

import pytest

from audit.disclosure import commitments_within
from audit.errors import BadEventError, BrokenLedgerError
from audit.event import ActionFinished
from audit.export import View, viewed
from audit.fields import FileUse
from audit.openings import without
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry, SessionReader
from audit.schema import LARGEST_BODY
from audit.state import StateFiles
from audit.verdict import Disclosed, Undisclosed
from audit.verify import verify_session
from tests.audit.samples import SESSION, Recorder, Samples


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


def test_a_value_deleted_behind_a_body_that_lies_in_the_table_is_missing(state: Path, shown: str) -> None:
    """No writer puts a body that was moved out there; who does so hides nothing of what it commits to."""
    files = StateFiles(state).session(SESSION)
    without(files, {shown})
    (fields,) = map(json.loads, files.openings.read_text().splitlines())
    blob = files.blobs / f"{fields['commitment']}.gz"
    inline = {"blob": False, "utf8": gzip.decompress(blob.read_bytes()).decode()}
    blob.unlink()

    files.openings.write_text(f"{json.dumps(fields | inline)}\n")

    assert verify_session(state, SESSION).disclosure == Undisclosed((shown,), ())


def test_a_body_as_long_as_a_writers_longest_is_looked_into() -> None:
    body = b'{"c":{"digest":"%b","size":1}}' % (b"0" * 64)

    assert commitments_within(body.ljust(LARGEST_BODY)) == {"0" * 64}
    with pytest.raises(BrokenLedgerError, match="is longer than"):
        commitments_within(body.ljust(LARGEST_BODY + 1))


def test_a_body_longer_than_any_writers_is_not_read(
    state: Path, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write a log could let its readers decode hundreds of megabytes."""
    reader = SessionReader(state, SESSION)
    assert shown in {event.body.digest for _, event in reader.events() if isinstance(event, ActionFinished)}
    for blob in StateFiles(state).session(SESSION).blobs.iterdir():
        blob.unlink()
        os.mkfifo(blob)  # to open it is told with other words

    monkeypatch.setattr("audit.schema.LARGEST_BODY", 30_000)

    with pytest.raises(BadEventError, match=r"the body of entry 1 has \d+ bytes, more than 30000"):
        list(reader.events())
    told = [*query_session(state, SESSION, parse_filter("type=action.finished"))]
    assert [one.why.split(",")[-1] for one in told if isinstance(one, BrokenEntry)] == [" more than 30000"]


@pytest.fixture
async def at_length(recorder: Recorder, samples: Samples) -> None:
    """Write an action whose command line is too long for a line of the log."""
    async with recorder.journal() as journal:
        argv = ("files", "read", "x" * 40_000, "the-end-of-it")
        await journal.record(samples.intended(1).model_copy(update={"argv": argv}))
        await journal.close(samples.closed())


@pytest.mark.usefixtures("at_length")
@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (View.JSON, b"the-end-of-it"),
        (View.OCSF, b"the-end-of-it"),
        (View.OTLP, b"the-end-of-it"),
        (View.CSV, b"... (cut; whole in the JSON export)"),
        (View.MARKDOWN, b"... &#40;40025 characters in all&#41;"),
    ],
)
def test_nobody_leaves_an_export_by_writing_at_length(state: Path, view: View, shown: bytes) -> None:
    """What lies elsewhere is fetched; where a form has no room for it, it says how much is left out."""
    assert b"the-end-of-it" not in StateFiles(state).session(SESSION).events.read_bytes()

    text = b"".join(viewed(state, SESSION, view, version="0.1.0"))

    assert b"files read xxxx" in text or b'"files","read","xxxx' in text
    assert shown in text


@pytest.mark.usefixtures("at_length")
@pytest.mark.parametrize("view", View)
def test_a_moved_out_body_that_was_changed_is_exported_as_broken(state: Path, view: View) -> None:
    (blob,) = StateFiles(state).session(SESSION).blobs.iterdir()
    changed = gzip.decompress(blob.read_bytes()).replace(b"the-end-of-it", b"another-end!!")
    blob.write_bytes(gzip.compress(changed))
    pieces = viewed(state, SESSION, view, version="0.1.0")

    with pytest.raises(BrokenLedgerError, match=r"^entry 1 does not hold: the value behind commitment"):
        assert [piece for piece in pieces if b"another-end" in piece] == []
