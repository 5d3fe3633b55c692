"""Findings as SARIF and in a CI's log: valid, the same in the next run, and no command of a runner's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import junitparser
import pytest
import xmlschema
from jsonschema import Draft202012Validator

from agent_runner.ci.annotations import annotation_lines, log_line, wanted
from agent_runner.ci.findings import MOST_FINDINGS, Finding, findings_of
from agent_runner.ci.keeping import Kept
from agent_runner.ci.outcome import CheckResult, TaskResult
from agent_runner.ci.sarif import sarif
from agent_runner.ci.source_tree import SourceTree, source_tree
from agent_runner.ci.summary import junit_xml
from agent_runner.cli.ci_written import Copies, print_results
from agent_runner.cli.exits import leave
from agent_runner.errors import InvalidInputError, RefusedError

SCHEMAS = Path(__file__).parent / "schemas"
TREE = SourceTree(root=Path("/checkout"), here=Path("/checkout/sub"))
HOSTILE = "\n::add-mask::x\r\n##[add-matcher]y ##vso[task.setvariable]z \x1b[31m\u202e,:%0A::error::no"
CHECKS = (
    CheckResult(name="command: pytest -q", code=1, why="exit code 1", output=HOSTILE, seconds=1.5),
    CheckResult(name="changes", seconds=0.1),
    CheckResult(name=f"files: {HOSTILE}", is_skipped=True, why="the agent's session failed"),
)
RESULT = TaskResult(
    name="t", origin="tasks/t.yaml", policy="p", grant="files", model="m", status="failed",
    reason=HOSTILE, agent_code=1, code=6, checks=CHECKS,
    faults=("0123456789ab: integrity broken at entry 7",),
)  # fmt: skip
FOUND = Finding(
    kind="denied", code="capability", level="warning", task="t", file="../tasks/t.yaml", subject="http get x",
    message=f"denied {HOSTILE}", session="0123456789ab", rule="policies/p.yaml:7:3",
)  # fmt: skip


def log_of(*findings: Finding) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(sarif(findings, version="1.0", tree=TREE)))
    schema = json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())
    Draft202012Validator(schema).validate(made)
    run: dict[str, Any] = made["runs"][0]
    return run


def test_findings_are_valid_sarif_whatever_an_agent_wrote(tmp_path: Path) -> None:
    found = [FOUND, *findings_of([RESULT], tmp_path), replace(FOUND, file="/elsewhere/t ü.yaml", rule="")]

    run = log_of(*found)

    assert len(run["results"]) == 5
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "denied/capability", "session", "check", "ledger",
    ]  # fmt: skip
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert not re.search(r"[\x00-\x1f\u202e]", result["message"]["text"])
    first, last = run["results"][0], run["results"][-1]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "tasks/t.yaml", "uriBaseId": "%SRCROOT%"}
    related = first["relatedLocations"][0]["physicalLocation"]
    assert related["artifactLocation"]["uri"] == "sub/policies/p.yaml"
    assert related["region"] == {"startLine": 7, "startColumn": 3}
    assert last["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "file:///elsewhere/t%20%C3%BC.yaml"
    }
    assert log_of()["results"] == []


def test_the_schema_refuses_what_is_no_sarif() -> None:
    """The positive tests can fail."""
    broken = sarif([FOUND], version="1.0", tree=TREE) | {"version": "2.0.0"}
    schema = json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())

    assert not Draft202012Validator(schema).is_valid(broken)


def test_a_finding_keeps_its_fingerprint_in_the_next_run_and_no_two_share_one(tmp_path: Path) -> None:
    """Sessions, times and the words of a failure differ between runs; what it is about does not."""
    later = replace(
        RESULT, session="", reason="other words", seconds=9.0,
        checks=(replace(CHECKS[0], why="exit code 2", session="abcdefghjkmn"), *CHECKS[1:]),
        faults=("zzzzzzzzzzzz: integrity broken at entry 9",),
    )  # fmt: skip

    first, second = findings_of([RESULT], tmp_path), findings_of([later], tmp_path)
    other = findings_of([replace(RESULT, name="u")], tmp_path)

    assert [each.fingerprint for each in first] == [each.fingerprint for each in second]
    assert [each.kind for each in first] == ["session", "check", "ledger"]
    assert len({each.fingerprint for each in (*first, *other, FOUND, replace(FOUND, code="host"))}) == 8


def test_equal_findings_are_told_once_with_their_count(tmp_path: Path) -> None:
    found = findings_of([RESULT, RESULT], tmp_path)

    assert [each.times for each in found] == [2, 2, 2]
    assert log_of(*found)["results"][0]["occurrenceCount"] == 2


def test_more_findings_than_are_shown_are_said() -> None:
    made: dict[str, Any] = dict(sarif([FOUND] * (MOST_FINDINGS + 3), version="1.0", tree=TREE))

    run = made["runs"][0]
    assert len(run["results"]) == MOST_FINDINGS
    assert "3 findings left out" in json.dumps(run["invocations"])


def test_an_annotation_is_one_command_of_ours_and_nothing_of_an_agents_is_one() -> None:
    lines = [*annotation_lines([FOUND, replace(FOUND, level="error", file="/etc/t,x:y.yaml")], tree=TREE)]

    error, warning = lines
    assert re.fullmatch(r"::error title=t%3A denied/capability::denied .*", error)
    assert warning.startswith("::warning file=tasks/t.yaml,line=1,title=t%3A denied/capability::denied ")
    for line in lines:
        assert line.count("::") >= 2
        assert not re.search(r"[\x00-\x1f]|##|%0A(?!:)", line.replace("%250A", ""))
    assert "%25" in warning


def test_a_session_that_cannot_be_looked_at_hides_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a fault that nobody foresaw."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("agent_runner.ci.findings.look_at", broken)
    results = [
        replace(RESULT, session="0" * 12),
        replace(RESULT, name="two", agent_code=5, reason="no turns"),
    ]

    messages = [finding.message for finding in findings_of(results, tmp_path)]

    assert "its session cannot be looked at: RuntimeError: unforeseen" in messages
    assert any(message.endswith("no turns") for message in messages)


@pytest.mark.parametrize("text", ["##[group]x", "x\n::add-mask::y", "::error::z"])
def test_an_error_that_quotes_a_file_is_no_command_of_a_runner(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `ci trust` and `ci run` print it on a task of a change's."""
    assert leave(RefusedError(text, hint=text, detail=text)) == 3

    lines = capsys.readouterr().err.splitlines()
    assert not [line for line in lines if "##" in line or line.lstrip().startswith("::")]
    assert len(lines) >= 3


@pytest.mark.parametrize("text", ["##[error]x", "a ##vso[y]z", "###", "####", "x\n##[group]", "\u200b##["])
def test_no_line_of_a_log_holds_what_a_runner_takes_for_a_command(text: str) -> None:
    assert "##" not in log_line(text)
    assert log_line("one # two") == "one # two"


@pytest.mark.parametrize("text", ["::error::x", "  ::add-mask::x", " ::stop-commands::t"])
def test_no_line_of_a_log_begins_as_a_command(text: str) -> None:
    """A difference between two texts, shown line by line, has lines that an agent wrote whole."""
    shown = log_line(text)

    assert not shown.lstrip().startswith("::")
    assert shown == text.replace("::", "\\x3a:", 1)
    assert log_line("a::b") == "a::b"


def test_what_is_printed_of_results_holds_no_command_and_the_json_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = replace(RESULT, departure="turn 1\n ::add-mask::x\n-##[error]y")

    print_results([result], Kept(tmp_path), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    print_results([result], Kept(tmp_path), as_json=True)
    told = capsys.readouterr().out

    for line in (*lines, *told.splitlines()):
        assert "##" not in line
        assert not line.strip().startswith("::")
    assert json.loads(told)["tasks"][0]["checks"][0]["output"] == HOSTILE


def test_annotations_are_for_githubs_steps_and_at_most_ten_of_a_level() -> None:
    lines = [*annotation_lines([FOUND] * 12, tree=TREE)]

    assert [wanted({"GITHUB_ACTIONS": word}) for word in ("true", "false", "")] == [True, False, False]
    assert (len(lines), lines[-1]) == (11, "all findings are in results.sarif: 2 more")


def test_files_are_named_from_the_folder_that_the_ci_checked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "checkout/sub"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)

    github = source_tree({"GITHUB_WORKSPACE": str(tmp_path / "checkout")})
    gitlab = source_tree({"CI_PROJECT_DIR": str(tmp_path / "checkout")})
    none, elsewhere = source_tree({}), source_tree({"GITHUB_WORKSPACE": "/nowhere/else"})

    assert github == gitlab
    assert str(github.below("t.yaml")) == "sub/t.yaml"
    assert str(github.below("../a/../t.yaml")) == "t.yaml"
    assert github.below("../../t.yaml") is None
    assert [str(tree.below("t.yaml")) for tree in (none, elsewhere)] == ["t.yaml", "t.yaml"]


def test_junit_holds_to_the_schema_of_jenkins_and_two_readers_count_the_same() -> None:
    results = [
        RESULT,
        replace(RESULT, name="good", code=0, agent_code=0, status="done", checks=(), faults=()),
    ]

    text = junit_xml([replace(each, session="0123456789ab", seconds=1234.5678) for each in results])

    xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd").validate(ET.ElementTree(ET.fromstring(text)))  # noqa: S314
    read = junitparser.JUnitXml.fromstring(text.encode())
    assert [suite.name for suite in read] == ["t", "good"]
    assert [(suite.tests, suite.failures, suite.skipped) for suite in read] == [(5, 3, 1), (2, 0, 0)]


def test_a_copy_that_could_not_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    Copies(junit=tmp_path / "j.xml", sarif=None, summary=None).require_usable()

    for bad in (tmp_path, tmp_path / "none/s.sarif"):
        with pytest.raises(InvalidInputError, match="cannot be written"):
            Copies(junit=None, sarif=bad, summary=None).require_usable()
