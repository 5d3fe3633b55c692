"""Sessions recorded and replayed on a real engine: no model, no key, and the first difference told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.ci.reading import read_tasks, tasks_meant
from agent_runner.ci.replay import same
from agent_runner.trust import trust
from audit.reader import SessionReader
from tests.promises.pairlock import pairlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent_runner.ci.task_stand import Project
    from tests.promises.pairlock import Said

pytestmark = pytest.mark.engine
READ = '["files read app.txt"]'
MENDED = '["files write app.txt --content mended", "run sh -c \'date; echo $$ >/dev/null; cat app.txt\'"]'
FINISH = '["finish --status done ok"]'
CHECKS = "checks: {files: [{path: app.txt, contains: mended}]}\n"


@pytest.fixture
def state(new_state: Callable[[], Path]) -> Path:
    return new_state()


@pytest.fixture
def recordings(project: Project, state: Path) -> Path:
    """Record a session, and take the model away."""
    project.script(READ, MENDED, FINISH)
    project.task(CHECKS)
    recordings = project.folder / "recordings"
    said = ran(project, state, "--record", str(recordings))
    assert said.returncode == 0, said.stdout + said.stderr
    (project.folder / "script.yaml").unlink()
    return recordings


def ran(project: Project, state: Path, *words: str) -> Said:
    """Trust every task and run all of them, each time into a folder of its own."""
    for task in read_tasks(tasks_meant([str(project.folder / "tasks")])):
        trust(state, task.closure)
    number = len([*project.folder.glob("results-*")])
    output = str(project.folder / f"results-{number}")
    return pairlock("ci", str(project.folder / "tasks"), "-o", output, "--json", *words, state=state)


def only(said: Said) -> dict[str, Any]:
    task: dict[str, Any] = json.loads(said.stdout)["tasks"][0]
    return task


def ledger(state: Path, session: str) -> list[dict[str, object]]:
    """Return a session's ledger without times, ids and what follows from them."""
    entries = []
    for entry, happened in SessionReader(state, session).events():
        told = repr(happened)
        told = re.sub(
            r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+|\b[0-9a-f]{16,64}\b|[A-Za-z0-9+/]{40,}=*",
            "<id>",
            same(told, (session,)),
        )
        told = re.sub(r"(\w*(?:_ms|_us|seconds|started|at))=[^,)]*", r"\1=<time>", told)
        entries.append({"seq": entry.seq, "type": entry.type, "told": told})
    return entries


def test_two_replays_without_a_model_give_the_same_ledger_but_for_times_and_ids(
    project: Project, state: Path, recordings: Path
) -> None:
    """Actions are carried out anew: the check holds on what they did; a clock's output does not differ."""
    told = [ran(project, state, "--replay", str(recordings)) for _ in range(2)]

    first, second = (only(said) for said in told)
    assert [said.returncode for said in told] == [0, 0], told
    assert first["session"] != second["session"]
    assert [check["verdict"] for check in first["checks"]] == ["passed"]
    ledgers = [ledger(state, each["session"]) for each in (first, second)]
    assert len(ledgers[0]) > 10
    assert ledgers[0] == ledgers[1]
    recording = (recordings / "mend.json").read_text()
    assert '"command": "files write app.txt --content mended"' in recording


def test_a_replay_fails_at_the_first_difference_and_shows_it(
    project: Project, state: Path, recordings: Path
) -> None:
    """The code changed since: turn, action, expected and got; the session is not gone on with."""
    project.write("project/app.txt", "broken otherwise\n")

    said = ran(project, state, "--replay", str(recordings))

    task = only(said)
    assert (said.returncode, task["exit_code"], task["turns"]) == (1, 1, 1)
    assert task["reason"] == "departed from its recording at turn 1: another answer"
    departure = task["departure"]
    assert departure.splitlines()[0] == "turn 1, `files read app.txt`: another answer"
    assert departure.endswith("\n-     1  broken\n+     1  broken otherwise")
    assert task["checks"][0]["verdict"] == "skipped"


def test_a_policy_that_decides_otherwise_is_a_difference_too(
    project: Project, state: Path, recordings: Path
) -> None:
    policy = project.folder / "policies/mend.yaml"
    policy.write_text(policy.read_text().replace('allow: ["files *", run]', "allow: [files read, run]"))

    task = only(ran(project, state, "--replay", str(recordings)))

    assert task["departure"].splitlines()[0].startswith("turn 2, `files write app.txt --content mended`")
    assert "+denied" in task["departure"]


def test_until_different_goes_on_with_a_model_from_there(
    project: Project, state: Path, recordings: Path
) -> None:
    project.write("project/app.txt", "broken otherwise\n")
    project.script('["files read nothing"]', '["files write app.txt --content mended"]', FINISH)

    said = ran(project, state, "--replay", str(recordings), "--replay-until-different")

    task = only(said)
    assert said.returncode == 0, task
    assert task["departure"].startswith("turn 1, ")
    assert task["turns"] == 3


def test_a_recording_that_is_missing_or_forged_is_told_before_anything_runs(
    project: Project, state: Path, recordings: Path
) -> None:
    path = recordings / "mend.json"
    text = path.read_text()

    path.write_text(text.replace('"task": "mend"', '"task": "other"'))
    forged = ran(project, state, "--replay", str(recordings))
    path.write_text(text.replace('"version": 1', '"version": 2'))
    newer = ran(project, state, "--replay", str(recordings))
    path.unlink()
    missing = ran(project, state, "--replay", str(recordings))

    assert [said.returncode for said in (forged, newer, missing)] == [2, 2, 2]
    assert "is a recording of `other`, expected `mend`" in forged.stderr
    assert "is no recording of version 1" in newer.stderr
    assert "cannot be read: no such file or directory" in missing.stderr
    assert all("Traceback" not in said.stderr for said in (forged, newer, missing))
