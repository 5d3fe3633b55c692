"""Files that decide what a check does: an agent that changes one has written its own check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.declared_checks import Found, declared_checks
from agent_runner.ci.reading import parse_task, read_task
from agent_runner.ci.steering import modules_of, scripts_of
from agent_runner.errors import InvalidInputError
from sandbox.stage import Change, ChangeKind, ChangeSet
from sandbox.stage.changes import Concern
from sandbox.stage.sides import EntryKind, Side
from tests.agent_runner.ci.task_stand import TASK

if TYPE_CHECKING:
    from tests.agent_runner.ci.task_stand import Project

FILE = Side(kind=EntryKind.FILE, mode=0o644, size=1, digest="", target="")


def changed(path: str, *concerns: Concern, is_new: bool = True) -> Change:
    kind = ChangeKind.ADDED if is_new else ChangeKind.MODIFIED
    before = None if is_new else FILE
    return Change(path=path, kind=kind, before=before, after=FILE, concerns=frozenset(concerns))


def said(checks: str, *changes: Change) -> str:
    """Return why the check of what steers fails."""
    task = parse_task(f"{TASK}checks: {checks}\n", origin="t.yaml")
    found = Found(
        tree=None, changes=ChangeSet(changes=changes, troubles=()), patch=None, denials=0, crossings=0
    )
    return next(each.why for each in declared_checks(task.checks, found) if each.name == "steering")


@pytest.mark.parametrize(
    ("command", "path", "concern"),
    [
        ("[pytest, -q]", "tests/conftest.py", Concern.RUNS_LATER),
        ("[pytest, -q]", "evil-1.dist-info/entry_points.txt", None),
        ("[sh, check.sh]", "check.sh", None),
        ("[bash, -eu, ./ci/check.sh, x]", "ci/check.sh", None),
        ("[python3.11, /workspace/ci/check.py]", "ci/check.py", None),
        ("[./check]", "check", None),
        ("[python3, -m, pytest, -q]", "pytest.py", None),
        ("[python3, -m, pytest.x]", "pytest/__init__.py", None),
    ],
)
def test_a_change_of_what_decides_what_a_command_does_fails_the_task(
    command: str, path: str, concern: Concern | None
) -> None:
    concerns = (concern,) if concern else ()

    refused = said(f"{{commands: [{{run: {command}}}]}}", changed(path, *concerns), changed("app.py"))
    let = said(f"{{commands: [{{run: {command}}}], may_steer: [{path}]}}", changed(path, *concerns))
    not_applied = said(f"{{commands: [{{run: {command}}}]}}", changed(path, *concerns, Concern.PROTECTED))

    assert refused == f"changed what decides what commands do: {path}; `may_steer` lets it"
    assert (let, not_applied) == ("", "")


def test_what_a_command_is_given_to_look_at_steers_nothing() -> None:
    """The positive twin: the files that an agent is asked to change, and a package that was there."""
    for command, path in (
        ("[cmp, made.txt, expected.txt]", "made.txt"),
        ("[sh, -c, 'test -s made.txt']", "made.txt"),
        ("[python3, -c, 'import app', made.txt]", "made.txt"),
        ("[pytest, -q]", "src/app.py"),
        ("[sh, check.sh]", "src/check.sh"),
    ):
        assert said(f"{{commands: [{{run: {command}}}]}}", changed(path)) == ""
    assert said("{commands: [{run: [python3, -m, app]}]}", changed("app/__init__.py", is_new=False)) == ""


def test_a_task_without_commands_has_no_such_check_and_may_not_name_any(project: Project) -> None:
    task = parse_task(f"{TASK}checks: {{no_egress: true}}\n", origin="t.yaml")
    found = Found(tree=None, changes=None, patch=None, denials=0, crossings=0)

    assert [each.name for each in declared_checks(task.checks, found)] == ["no_egress"]
    with pytest.raises(InvalidInputError, match=r"`checks.may_steer` would be ignored"):
        read_task(project.task("checks: {may_steer: [Makefile]}\n"))


def test_programs_are_found_behind_options_alone() -> None:
    assert [*scripts_of(["python3", "-I", "-B", "x.py", "y.py"])] == ["x.py"]
    assert [*scripts_of(["pytest", "tests/test_x.py"])] == []
    assert next(modules_of(["python3", "-I", "-m", "unittest.x"])) == "unittest.py"
    assert [*modules_of(["grep", "-m", "1", "x"])] == []
    assert [*modules_of(["python3", "-m"])] == []
