"""The tasks of examples/tasks pass from their recordings: no model, no key, every action carried out.

`PAIRLOCK_RECORD=1` makes the recordings anew from the scripts that the tasks name: after a change of a task,
or of what the runner tells a model.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from agent_runner.ci.reading import read_tasks, tasks_meant
from agent_runner.ci.recording import read_recording
from tests.agent_runner.ci.example_tasks import EXAMPLES, RECORDINGS, run_examples
from tests.cli_tools.answering import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ["fix-test", "plot-sales", "review-to-slack", "triage-inbox", "update-changelog"]


def test_each_example_has_a_policy_with_expectations_checks_a_recording_and_a_place_in_the_docs() -> None:
    page = (EXAMPLES.parent / "docs/ci-examples.md").read_text()

    tasks = read_tasks(tasks_meant([str(EXAMPLES / "tasks")]))

    assert [task.name for task in tasks] == NAMES
    for task in tasks:
        assert task.policy.expect
        assert task.file.checks.max_denials is not None
        assert read_recording(RECORDINGS / f"{task.name}.json", task.name).policy == task.policy.name
        assert f"## {task.name}\n" in page


@pytest.mark.long
@pytest.mark.engine
async def test_the_examples_pass_from_their_recordings_and_do_what_they_say(
    tmp_path: Path, new_state: Callable[[], Path]
) -> None:
    recording = os.environ.get("PAIRLOCK_RECORD") == "1"
    words = ("--record", "made") if recording else ("--replay", "examples/tasks/recordings")

    ran = await run_examples(tmp_path, new_state(), *words)

    assert ran.code == 0, ran.told
    if recording:
        shutil.copytree(tmp_path / "made", RECORDINGS, dirs_exist_ok=True)
    tasks = json.loads((ran.results / "results.json").read_text())["tasks"]
    assert [(task["name"], task["verdict"]) for task in tasks] == [(name, "passed") for name in NAMES]
    assert [post["text"][:20] for post in sorted(ran.slack.posted, key=lambda post: post["channel"])] == [
        "change.diff, limits.", "Anna cannot sign in ",
    ]  # fmt: skip
    assert sorted(ran.graph.moved) == [
        ("AAMk0001=", "archive"), ("AAMk0002=", "FOLDER00000000000000000009="), ("AAMk0004=", "archive"),
    ]  # fmt: skip
    assert not ran.graph.sent
    plot = ET.parse(ran.results / "plot-sales/outputs/plot.svg").getroot()  # noqa: S314 - checked by the task
    assert [each.text for each in plot if "units" in (each.text or "")] == [
        "north: 190 units", "south: 111 units",
    ]  # fmt: skip
    assert not _holding(tmp_path, TOKEN)


def _holding(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*.jso*") if text.encode() in path.read_bytes()]
