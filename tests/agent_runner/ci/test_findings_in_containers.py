"""What an agent tried stands in the alerts and annotations of its task, the same in the next run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.ci.reading import read_tasks
from agent_runner.trust import trust
from tests.promises.pairlock import pairlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent_runner.ci.task_stand import Project

pytestmark = pytest.mark.engine


def alerts(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "results.sarif").read_text())["runs"][0]["results"]
    return found


def test_denials_refused_changes_and_files_that_run_later_are_findings_that_keep_their_fingerprints(
    project: Project, new_state: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.script(
        '["http get https://x.example/##[add-mask]y", "http get https://x.example/##[add-mask]y"]',
        "[\"run sh -c 'mkdir -p .github/workflows && : >.github/workflows/w.yml'\"]",
        '["files write Makefile --content all:"]',
        '["finish --status done ok"]',
    )
    task, state = project.task("checks: {max_denials: 9}\n"), new_state()
    trust(state, read_tasks([task])[0].closure)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.chdir(project.folder)

    ran = [
        pairlock("ci", str(task), "-o", str(project.folder / name), "--sarif", "s.sarif",
                 state=state)
        for name in ("first", "second")
    ]  # fmt: skip

    for said in ran:
        assert said.returncode == 0, said.stdout + said.stderr
        assert "##" not in said.stdout + said.stderr
        assert "\n::warning file=tasks/mend.yaml,line=1,title=mend%3A denied/c" in said.stderr
    first, second = alerts(project.folder / "first"), alerts(project.folder / "second")
    assert (first[0]["ruleId"], first[0]["occurrenceCount"]) == ("denied/capability", 2)
    assert {each["ruleId"] for each in first[1:]} == {"refused/protected", "later"}
    assert any("`.github/workflows/w.yml`, which apply refuses" in each["message"]["text"] for each in first)
    assert [each["partialFingerprints"] for each in first] == [each["partialFingerprints"] for each in second]
    assert {each["properties"]["session"] for each in first}.isdisjoint(
        each["properties"]["session"] for each in second
    )
    assert (project.folder / "s.sarif").read_text() == (project.folder / "second/results.sarif").read_text()
