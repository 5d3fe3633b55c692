"""Recordings of whole sessions, made from their ledgers, answer the same session to the same end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from agent_runner.ci.reading import Task, read_task
from agent_runner.ci.recording import Recording, as_text, recorded
from agent_runner.ci.replay import RecordedModel
from agent_runner.fold import read_conversation, read_past
from tests.agent_runner.careful import careful, prepare
from tests.agent_runner.ci.task_stand import Project, project_in
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.stand import Stand

AGAIN = "bcdefghjkmnp"
KEPT = "horse-battery-staple-41"
SENDS = """\
version: 1
name: sends
grant: [files, network]
network: {allow: [{host: a.example, methods: [GET], credential: staple}]}
commands: {allow: ["files *", http get]}
"""


@pytest.fixture
def task(tmp_path: Path) -> Task:
    project: Project = project_in(tmp_path / "project")
    return read_task(project.task())


def recording_of(stand: Stand, task: Task) -> Recording:
    """Return the recording as whoever reads the file has it."""
    return Recording.model_validate_json(as_text(recorded(stand.state, SESSION, task, model="m")))


async def test_a_session_with_bodies_denials_and_errors_is_replayed_to_the_same_conversation(
    stand: Stand, task: Task
) -> None:
    prepare(stand.folder)
    assert (await stand.run(careful())).status == "done"
    after = {path.name: path.read_bytes() for path in stand.folder.iterdir()}
    model = RecordedModel(recording_of(stand, task), session=AGAIN)
    for path in stand.folder.iterdir():
        path.unlink()
    prepare(stand.folder)

    result = await stand.run(model, session=AGAIN)
    model.look_back(read_conversation(stand.state, AGAIN))

    assert (result.status, model.departure) == ("done", None)
    assert {path.name: path.read_bytes() for path in stand.folder.iterdir()} == after
    assert read_past(stand.state, AGAIN).messages == read_past(stand.state, SESSION).messages


async def test_a_conversation_that_was_shortened_is_recorded_whole_and_replayed(
    stand: Stand, task: Task
) -> None:
    """What the model no longer saw at the end is in the recording, and is compared when it comes."""
    for number in range(12):
        (stand.folder / f"f{number}").write_text(f"{number} " * 2000)
    turns = [lines(f"files read f{number}") for number in range(12)]
    assert (await stand.run(saying(*turns, FINISH), long_characters=20_000)).status == "done"

    recording = recording_of(stand, task)
    model = RecordedModel(recording, session=AGAIN)
    result = await stand.run(model, session=AGAIN, long_characters=20_000)
    model.look_back(read_conversation(stand.state, AGAIN))

    assert read_past(stand.state, SESSION).messages != read_conversation(stand.state, SESSION)
    assert all(len(turn.calls[0].answered or "") > 2000 for turn in recording.turns[:-1])
    assert (result.status, model.departure) == ("done", None)


async def test_a_secret_that_the_session_knows_is_in_no_recording(
    stand: Stand, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the ledger: in what was read, said and written; the same file without it is there."""
    config = tmp_path / "config.yaml"
    config.write_text("version: 1\ncredentials: {staple: {env: STAPLE, hosts: [a.example]}}\n")
    monkeypatch.setattr(models, "configuration_path", lambda: config)
    monkeypatch.setenv("STAPLE", KEPT)
    (stand.folder / "notes").write_text(f"public, and {KEPT}\n")
    says = saying(
        lines("files read notes", text=f"I look for {KEPT}"),
        lines(f"files write made --content {KEPT}"),
        FINISH,
    )

    result = await stand.run(says, SENDS)
    text = as_text(recorded(stand.state, SESSION, task, model="m"))

    assert result.status == "done", result.reason
    assert "public, and" in text
    assert "files write made --content" in text
    assert KEPT not in text
