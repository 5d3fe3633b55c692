"""What the process of a case hands back: read as it was written, and never another's."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.all import Run, run_cases
from agent_runner.ci.cases import cases_of
from agent_runner.ci.declared_checks import Found, declared_checks
from agent_runner.ci.findings import findings_of
from agent_runner.ci.handing import read_result, result_path, write_result
from agent_runner.ci.one import failed
from agent_runner.ci.outcome import INTERRUPTED, CheckResult, TaskResult
from agent_runner.ci.plan import begun
from agent_runner.ci.process import Ended
from agent_runner.ci.reading import read_task
from agent_runner.ci.sarif import sarif
from agent_runner.ci.source_tree import SourceTree
from agent_runner.ci.task import Checks
from agent_runner.cli.ci_shown import Lines
from agent_runner.errors import InvalidInputError
from sandbox.stage import Change, ChangeKind, ChangeSet

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.ci.handing import Order
    from agent_runner.ci.telling import Onlooker
    from tests.agent_runner.ci.task_stand import Project

RESULT = TaskResult(name="one", task="one", origin="t\udcff.yaml", policy="p", grant="files", model="m")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a folder as a run has made it."""
    (tmp_path / "results/.run").mkdir(parents=True)
    return tmp_path / "results"


def test_a_name_that_is_no_text_makes_no_result_unreadable(results: Path) -> None:
    """Linux's names are bytes; Python has those that are no UTF-8 as lone surrogates."""
    check = CheckResult(name="unchanged: *", code=1, why="changed: a\udc80")
    result = replace(RESULT, reason="x\ud800", checks=(check,))

    write_result(results, result)

    assert read_result(results, "one") == result


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"name": "one"}', "1" * 5000, "\udcff"])
def test_a_file_that_is_no_result_is_one_line_and_done_again(project: Project, content: str) -> None:
    folder = project.folder / "results"
    project.script('["finish --status done ok"]')
    cases = cases_of([read_task(project.task())])
    with begun(folder, cases, state=project.folder / "state", resume=False):
        result_path(folder, "mend").write_bytes(content.encode("utf-8", "surrogateescape"))

    with pytest.raises(InvalidInputError, match="is no result of a task"):
        read_result(folder, "mend")
    left = folder / ".run/.fetching-x/repository"
    left.mkdir(parents=True)
    with begun(folder, cases, state=project.folder / "state", resume=True) as again:
        assert again.done == {}
    assert not left.parent.exists()  # what a killed process had half fetched goes as well


def test_a_result_of_another_case_is_not_taken(results: Path) -> None:
    write_result(results, RESULT)
    result_path(results, "one").rename(result_path(results, "two"))

    with pytest.raises(InvalidInputError, match="is the result of another case"):
        read_result(results, "two")


def test_a_check_names_a_file_whose_name_is_no_text() -> None:
    change = Change(path="a\udc80", kind=ChangeKind.ADDED, before=None, after=None)
    changes = ChangeSet(changes=(change,), troubles=())
    found = Found(tree=None, changes=changes, patch=None, denials=0, crossings=0)

    (result,) = declared_checks(Checks.model_validate_json('{"unchanged": ["*"]}'), found)

    assert result.why == "changed: a\\udc80"


def test_a_page_names_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    findings = findings_of([replace(RESULT, agent_code=1, code=1)], tmp_path)

    log = sarif(findings, version="1", tree=SourceTree(root=tmp_path, here=tmp_path))

    assert "'uri': 't%FF.yaml'" in str(log)


def run_interrupted(
    project: Project, monkeypatch: pytest.MonkeyPatch, *, leaves: int | None, before: int | None = None
) -> tuple[TaskResult, int]:
    """Run a case whose process is interrupted as it ends; return what came of it, and its tries."""
    project.script('["finish --status done ok"]')
    (case,) = cases_of([read_task(project.task("retries: 2\n"))])
    folder, tries = project.folder / "results", 0

    async def ends(order: Order, onlooker: Onlooker, *, lock: int) -> Ended:
        nonlocal tries
        assert order.attempt <= 1 + tries
        assert isinstance(onlooker, Lines)
        assert lock
        tries += 1
        if leaves is not None:
            write_result(folder, replace(failed(case, leaves, "left"), attempts=order.attempt))
        (task,) = (each for each in asyncio.all_tasks() if each.get_name() == "run")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        return Ended(code=-9, sessions=frozenset(), last_words="", interrupted=True)

    async def work(run: Run) -> TaskResult:
        task = asyncio.ensure_future(run_cases([case], run))
        task.set_name("run")
        return (await task)[0]

    monkeypatch.setattr("agent_runner.ci.all.run_process", ends)
    with begun(folder, [case], state=project.folder / "state", resume=False) as new:
        if before is not None:
            write_result(folder, replace(failed(case, before, "stale"), attempts=1))
        run = Run(state=project.folder / "state", begun=new, onlooker=Lines(), jobs=1)
        return asyncio.run(work(run)), tries


def test_a_task_that_changes_while_it_waits_is_refused_and_not_tried_again(project: Project) -> None:
    """Its process finds another digest than the one that was trusted."""
    project.script('["finish --status done ok"]')
    file = project.task("retries: 2\n")
    (case,) = cases_of([read_task(file)])
    file.write_text(file.read_text().replace("mend it", "carry it off"))

    with begun(project.folder / "results", [case], state=project.folder / "state", resume=False) as new:
        run = Run(state=project.folder / "state", begun=new, onlooker=Lines(), jobs=1)
        (result,) = asyncio.run(run_cases([case], run))

    assert (result.code, result.attempts, result.task) == (3, 1, "mend")
    assert "changed while it waited; hint: start the run again" in result.reason


def test_what_failed_is_not_tried_again_once_the_run_is_interrupted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result is read to the end all the same."""
    result, tries = run_interrupted(project, monkeypatch, leaves=4)

    assert (result.reason, result.code, result.is_skipped, tries) == ("left", 4, False, 1)


def test_what_an_interrupted_attempt_left_is_not_taken_for_the_next_ones(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is killed, and leaves no result of its own."""
    result, _ = run_interrupted(project, monkeypatch, leaves=None, before=1)

    assert (result.reason, result.code) == ("interrupted", INTERRUPTED)


@pytest.mark.parametrize(
    ("code", "actions", "is_done"), [(4, 0, False), (7, 0, False), (4, 1, True), (7, 3, True), (1, 0, True)]
)
def test_what_found_no_sandbox_or_model_is_run_again_by_a_resume(
    project: Project, code: int, actions: int, is_done: object
) -> None:
    """An engine that was lost after the agent's first action is a failure of the task."""
    folder = project.folder / "results"
    project.script('["finish --status done ok"]')
    (case,) = cases_of([read_task(project.task())])
    with begun(folder, [case], state=project.folder / "state", resume=False):
        write_result(folder, replace(failed(case, code, "gone"), actions=actions))

    with begun(folder, [case], state=project.folder / "state", resume=True) as again:
        assert (("mend" in again.done), again.again) == (is_done, 0 if is_done else 1)


def test_a_result_whose_session_the_state_folder_does_not_have_is_not_taken(project: Project) -> None:
    """A checkout under a strict umask has folders of the mode that a run's own has."""
    folder, state, session = project.folder / "results", project.folder / "state", "0123456789ab"
    project.script('["finish --status done ok"]')
    (case,) = cases_of([read_task(project.task())])
    passed = replace(RESULT, name="mend", session=session)
    taken = []
    with begun(folder, [case], state=state, resume=False):
        pass

    for result in (replace(passed, session=""), passed):
        write_result(folder, result)
        with begun(folder, [case], state=state, resume=True) as again:
            taken += [*again.done]
    (state / "sessions" / session).mkdir(parents=True)
    with begun(folder, [case], state=state, resume=True) as own:
        assert own.done == {"mend": passed}

    assert taken == []


def test_a_run_that_ended_before_its_plan_was_written_is_no_dead_end(project: Project) -> None:
    """A full disk, or a kill: nothing had run, and nothing could go on."""
    folder, state = project.folder / "results", project.folder / "state"
    project.script('["finish --status done ok"]')
    cases = cases_of([read_task(project.task())])
    (folder / ".run").mkdir(parents=True, mode=0o700)
    (folder / ".run/.plan.json.17.0badcafe.new").touch()

    with begun(folder, cases, state=state, resume=False) as new:
        assert new.done == {}
    with (
        pytest.raises(InvalidInputError, match="is not empty"),
        begun(folder, cases, state=state, resume=False),
    ):
        pass
