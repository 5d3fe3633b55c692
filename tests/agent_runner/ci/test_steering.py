"""Files that decide what a check does: an agent that changes one has written its own check."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.command_words import Runs, looks_alone, runs_of
from agent_runner.ci.declared_checks import Found, declared_checks
from agent_runner.ci.reading import parse_task, read_task
from agent_runner.errors import InvalidInputError
from sandbox.stage import Change, ChangeKind, ChangeSet
from sandbox.stage.changes import Concern
from sandbox.stage.later import DefaultLater
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
        ("[python, -c, 'import xml.etree']", "xml.py", None),
        ("[python, -c, 'import xml.etree']", "xml/__init__.py", None),
        ("[python, -m, pytest]", "json.py", None),
        ("[python3, ci/check.py]", "ci/json.py", None),
        ("[./ci/check.py]", "ci/json.py", None),
        ("[bash, -e, ci/check]", "ci/check", None),
        ("[sh, -e, ci/verify]", "ci/verify", None),
        ("[bash, -o, pipefail, ci/check]", "ci/check", None),
        ("[bash, --rcfile=ci/check, x]", "ci/check", None),
        ("[python3, -W, error, ci/check.py]", "ci/check.py", None),
        ("[python3, -X, dev, ci/check.py]", "ci/check.py", None),
        ("[python3, -mci.verify]", "ci/verify.py", None),
        ("[python3, -Bm, ci.verify]", "ci/verify/__main__.py", None),
        ("[python3, -m, coverage, run, ci/check.py]", "ci/check.py", None),
        ("[env, python3, ci/check.py]", "ci/check.py", None),
        ("[env, -S, python3 -I ci/check.py]", "ci/check.py", None),
        ("[timeout, '60', env, A=1, python3, -m, ci.verify]", "ci/verify.py", None),
        ("[timeout, -s, KILL, '60', ./ci/check]", "ci/check", None),
        ("[perl, -w, ci/check]", "ci/check", None),
        ("[ruby, -r./ci/check, -e, x]", "ci/check", None),
        ("[node, --require=./ci/check.js, x.js]", "ci/check.js", None),
        ("[lua, -e, x, ci/check.lua]", "ci/check.lua", None),
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
        ("[bash, -euc, 'test -s made.txt', x, made.txt]", "made.txt"),
        ("[perl, -ne, print, made.txt]", "made.txt"),
        ("[python3, -I, -c, 'import xml']", "xml.py"),
        ("[python3, -BP, -m, unittest]", "xml.py"),
        ("[python3, -Ic, 'import xml']", "xml.py"),
        ("[python3, ci/check.py]", "xml.py"),
        ("[python3, -c, 'import app']", "app/xml.py"),
        ("[python3, -m, unittest, tests/test_x.py]", "tests/test_x.py"),
        ("[python3, -m, unittest]", "test/test_x.py"),
        ("[timeout, '60', pytest, tests/test_x.py]", "tests/test_x.py"),
    ):
        assert said(f"{{commands: [{{run: {command}}}]}}", changed(path)) == "", command
    assert said("{commands: [{run: [python3, -m, app]}]}", changed("app/__init__.py", is_new=False)) == ""


def test_a_task_without_commands_has_no_such_check_and_may_not_name_any(project: Project) -> None:
    task = parse_task(f"{TASK}checks: {{no_egress: true}}\n", origin="t.yaml")
    found = Found(tree=None, changes=None, patch=None, denials=0, crossings=0)

    assert [each.name for each in declared_checks(task.checks, found)] == ["no_egress"]
    with pytest.raises(InvalidInputError, match=r"`checks.may_steer` would be ignored"):
        read_task(project.task("checks: {may_steer: [Makefile]}\n"))


def test_a_module_that_was_there_and_is_what_a_command_runs_may_not_be_changed() -> None:
    checks = "{commands: [{run: [python3, -m, ci.verify]}]}"

    assert said(checks, changed("ci/verify.py", is_new=False)).startswith("changed what decides")
    assert said(checks, changed("ci/__init__.py", is_new=False)) == ""


@pytest.mark.parametrize(
    "path", ["app/tasks.py", "manage.py", "CODEOWNERS", "main.tf", "fabfile.py", "dodo.py"]
)
def test_what_one_other_tool_runs_steers_no_command_that_runs_nothing_elses_files(path: str) -> None:
    """Changes have to be judged as the stage does; a program that may start anything may start that tool."""
    later = DefaultLater().label(path)
    change = replace(changed(path, Concern.RUNS_LATER), later=later)

    passed = [
        said(f"{{commands: [{{run: {words}}}]}}", change)
        for words in ("[pytest, -q]", "[python3, -m, pytest, -q]", "[cmp, a, b]")
    ]
    refused = [
        said(f"{{commands: [{{run: {words}}}, {{run: [pytest]}}]}}", change)
        for words in (
            "[invoke, test]",
            "[make]",
            "[sh, -c, x]",
            "[./pytest]",
            "[python3, -c, 'import pytest']",
        )
    ]

    assert later
    assert passed == [""] * 3
    assert all(why.startswith(f"changed what decides what commands do: {path};") for why in refused)


def test_a_folder_steers_nothing_and_what_is_in_it_is_told_for_itself() -> None:
    folder = replace(FILE, kind=EntryKind.FOLDER)
    made = replace(changed("tools/xcode.xcodeproj", Concern.RUNS_LATER), after=folder)

    assert said("{commands: [{run: [pytest]}]}", made) == ""
    assert said("{commands: [{run: [pytest]}]}", replace(made, after=FILE)) != ""


@pytest.mark.parametrize(
    "path", [".pytest.ini", "pytest.toml", ".pytest.toml", "ruff.toml", ".ruff.toml", "pyrightconfig.json"]
)
def test_settings_of_what_checks_are_on_the_list(path: str) -> None:
    assert DefaultLater().label(f"sub/{path}") in {
        "chooses plugins that run",
        "chooses what a check looks at",
    }


def test_what_a_command_runs_is_read_from_its_words() -> None:
    assert runs_of(["pytest", "tests/test_x.py"]) == Runs()
    assert runs_of(["grep", "-m", "1", "x"]) == Runs()
    assert "unittest.py" in runs_of(["python3", "-I", "-m", "unittest.x"]).stand_ins
    assert runs_of(["python3", "-m"]).import_folders == {""}
    assert not looks_alone(["python3", "-m"])
