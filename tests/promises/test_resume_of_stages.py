"""A session goes on with its stage in a container: its own changes, the user's, and nothing hidden."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import UserMessage
from agent_runner.container import NOBODY
from agent_runner.fold import read_conversation
from agent_runner.interruption import RESUMED, STAGE_LOST
from audit.state import StateFiles
from sandbox.stage import ThesePaths, compute_changes, open_stage
from sandbox.stage import apply as apply_module
from sandbox.stage.journal import Phase, load_journal
from tests.promises.test_resume_in_containers import done, pairlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine
POLICY = """\
version: 1
name: p
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
budget: {turns: 1}
"""
SCRIPT = """\
version: 1
turns:
  - actions: [{command: files write mine, content: agent}, {command: files write taken, content: agent}]
  - actions: ["run sh -c 'ls -A >seen; cat theirs mine taken >>seen; cat .env >>seen'"]
  - actions: ["finish --status done"]
"""


@pytest.mark.parametrize("name", ["work", "x,lowerdir=%2Fetc"], ids=["overlay", "copy"])
def test_a_stage_goes_on_after_a_partial_apply_that_was_killed(
    new_state: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Resuming finishes and records the apply; the user's changes show, a secret made meanwhile does not."""
    state, workspace = new_state(), tmp_path / name
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "s.yaml").write_text(SCRIPT)
    workspace.mkdir()
    (workspace / "theirs").write_text("1\n")
    if os.getuid() == 0:  # the workspace of root's is held by a copy, made once
        for path in (workspace, workspace / "theirs"):
            os.chown(path, NOBODY, NOBODY)
    arguments = ["run", "t", "-p", "p.yaml", "-w", str(workspace), "-m", "scripted:s.yaml"]
    spent = done(pairlock(state, tmp_path, *arguments))
    [session] = StateFiles(state).session_ids()
    kill_after_placing(StateFiles(state).session(session).folder, monkeypatch)
    (workspace / "theirs").write_text("the user's\n")
    (workspace / ".env").write_text("secret\n")

    ended = done(pairlock(state, tmp_path, "resume", session, "--add-budget", "turns=5"))
    shown = done(pairlock(state, tmp_path, "diff", session))

    assert (spent[0], ended[0]) == (5, 0), spent[2] + ended[2]
    assert (workspace / "taken").read_text() == "agent"
    assert "+the user's\n" in shown[1]
    assert {"+mine", "+taken", "+theirs"} <= set(shown[1].splitlines())
    assert "+.env" not in shown[1].splitlines()
    assert "secret" not in shown[1]
    assert "b/taken" not in shown[1]
    assert '"stage.applied"' in (state / "ledger.jsonl").read_text()


def test_a_stage_that_is_gone_is_told_to_the_person_and_to_the_model(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """Else the model would go on as if what it wrote were there."""
    state, workspace = new_state(), tmp_path / "work"
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "s.yaml").write_text(SCRIPT)
    workspace.mkdir()
    if os.getuid() == 0:
        os.chown(workspace, NOBODY, NOBODY)
    spent = done(pairlock(state, tmp_path, "run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml"))
    [session] = StateFiles(state).session_ids()
    kept = done(pairlock(state, tmp_path, "resume", session, "--add-budget", "turns=1"))
    shutil.rmtree(StateFiles(state).session(session).folder / "stage")

    ended = done(pairlock(state, tmp_path, "resume", session, "--add-budget", "turns=5"))

    notes = [m.text for m in read_conversation(state, session) if isinstance(m, UserMessage)]
    assert (spent[0], kept[0], ended[0]) == (5, 5, 0), spent[2] + kept[2] + ended[2]
    assert [note for note in notes if "interrupted" in note] == [RESUMED, STAGE_LOST]
    assert "its stage is gone, and with it what the agent had changed" in ended[2]
    assert "its stage is gone" not in kept[2]


def kill_after_placing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply one file, and leave everything as a runner leaves it that is killed before it tells of it."""

    class KilledError(BaseException):
        pass

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, open_stage(folder) as stage:
        patch.setattr(apply_module, "_take_note", die)
        with pytest.raises(KilledError):
            apply_module.apply_changes(
                stage, compute_changes(stage).changes, chosen=ThesePaths(frozenset(["taken"]))
            )
        journal = load_journal(stage.folder.journal)
    assert journal is not None
    assert journal.phase is Phase.COMMIT
