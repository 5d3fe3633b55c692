"""`pairlock policy`: check, test, explain and diff, as people and programs meet them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from agent_runner.cli.exits import explain
from agent_runner.errors import InvalidInputError, RefusedError
from audit.errors import BrokenLedgerError
from policies.capability import Capability
from policies.errors import CeilingError, PolicyError, PolicyFileError, Problem, RuleAt
from policies.grant import Grant
from policies.library import library_names
from tests.agent_runner.policy_stand import EXPECT, POLICY, pairlock, written

if TYPE_CHECKING:
    from pathlib import Path


# -- check -----------------------------------------------------------------------------------------


def test_a_folder_is_checked_whole_and_its_neighbours_too(tmp_path: Path) -> None:
    written(
        tmp_path,
        "w.yaml",
        "version: 1\nname: w\ngrant: [files, network]\nnetwork: {allow: [{host: a.com, methods: [PUT]}]}\n"
        "commands: {allow: [files read, http put]}\n",
    )
    written(
        tmp_path,
        "r.yml",
        "version: 1\nname: r\ngrant: [network, exec]\nexec: {programs: [a], contents: public}\n"
        "network: {allow: [{host: a.com, methods: [GET]}]}\ncommands: {allow: [run]}\n",
    )

    warned = pairlock("check", tmp_path)
    strict = pairlock("check", tmp_path, "--strict")
    alone = pairlock("check", tmp_path / "w.yaml", "--strict")

    assert (warned.exit_code, strict.exit_code, alone.exit_code) == (0, 1, 0)
    assert "`w` may write to `a.com`, and `r` may read from it" in warned.stdout
    assert "[neighbours]" in warned.stdout
    assert "together: warnings" in warned.stderr


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("version: 1\nname: p\ngrant: [files, exec, network]\n", 3, "refused"),
        ("version: 1\nname: p\ngrnat: []\n", 2, "not valid"),
        (POLICY + "expect: [{deny: files read a}]\n", 2, "not valid"),
        (POLICY.replace("files list", "files lst"), 1, "errors"),
        (POLICY, 0, "ok"),
    ],
)
def test_one_bad_policy_of_a_folder_does_not_end_the_check(
    tmp_path: Path, text: str, code: int, said: str
) -> None:
    bad = written(tmp_path, "a.yaml", text)
    written(tmp_path, "b.yaml", POLICY)

    result = pairlock("check", tmp_path)

    assert result.exit_code == code
    assert f"{bad}: " in result.stderr
    assert said in result.stderr.splitlines()[0]
    assert f"{tmp_path / 'b.yaml'}: grant files, ok" in result.stderr


def test_a_check_speaks_json(tmp_path: Path) -> None:
    path = written(tmp_path, "p.yaml", POLICY.replace("files list", "files lst"))

    found = json.loads(pairlock("check", path, "--json").stdout)

    assert [(one["policy"], one["verdict"]) for one in found] == [(str(path), "errors")]
    assert found[0]["findings"][0]["topic"] == "unknown-command"
    assert found[0]["findings"][0]["at"] == {"file": str(path), "line": 4, "column": 32}


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    result = pairlock("check", tmp_path)

    assert result.exit_code == 2


# -- test ------------------------------------------------------------------------------------------


def test_a_folder_of_policies_is_tested_with_coverage(tmp_path: Path) -> None:
    good = written(tmp_path, "good.yaml", POLICY + EXPECT)
    bad = written(tmp_path, "bad.yaml", POLICY + "expect:\n  - deny: files read a\n    because: hidden\n")
    report = tmp_path / "junit.xml"

    result = pairlock("test", tmp_path, "--junit", report)

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{bad}:6:5: `files read a`: expected deny because of hidden, decided allow",
        f"{bad}: 0 of 1 met, 1 of 2 rules touched",
        f"  {bad}:4:32: no expectation touches `files list` of `commands.allow`",
        f"{good}: 2 of 2 met, 1 of 2 rules touched",
        f"  {good}:4:32: no expectation touches `files list` of `commands.allow`",
    ]
    suites = ET.fromstring(report.read_text())  # noqa: S314 - written a moment ago by ourselves
    assert suites.attrib == {"name": "pairlock policy test", "tests": "3", "failures": "1", "errors": "0"}
    failure = suites.find(".//failure")
    assert failure is not None
    assert failure.get("message") == "expected deny because of hidden, decided allow"
    case = suites.find(".//testcase")
    assert case is not None
    assert (case.get("name"), case.get("file"), case.get("line")) == ("deny: files read a", str(bad), "6")


def test_a_file_that_is_no_policy_is_an_error_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, "broken.yaml", "version: 1\nname: p\ngrnat: []\n\x1b[31m")
    written(tmp_path, "good.yaml", POLICY + EXPECT)
    report = tmp_path / "junit.xml"

    result = pairlock("test", tmp_path, "--junit", report, "--json")

    found = json.loads(result.stdout)
    assert (result.exit_code, found["met"]) == (2, False)
    assert sorted(found["files"][0]) == ["error", "file"]
    assert [item["met"] for item in found["files"][1]["expectations"]] == [True, True]
    assert found["files"][1]["untouched"][0]["rule"] == "`files list` of `commands.allow`"
    suites = ET.fromstring(report.read_text())  # noqa: S314 - written a moment ago by ourselves
    assert (suites.get("tests"), suites.get("errors")) == ("3", "1")


@pytest.mark.parametrize("place", ["missing/junit.xml", "file/junit.xml", "."])
def test_junit_that_cannot_be_written_is_exit_2_in_one_line_after_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    policy = written(tmp_path, "good.yaml", POLICY + EXPECT)
    written(tmp_path, "file", "")

    result = pairlock("test", policy, "--junit", tmp_path / place)

    assert result.exit_code == 2
    assert result.stdout.startswith(f"{policy}: 2 of 2 met")
    told, hint = capsys.readouterr().err.splitlines()
    assert told.startswith(f"pairlock: `{tmp_path / place}` cannot be written: ")
    assert hint == "hint: `--junit` names a file in a folder that exists"


def test_a_policy_of_the_library_can_be_tested_by_its_name() -> None:
    result = pairlock("test", *library_names())

    assert result.exit_code == 0
    assert result.stdout.count(" rules touched\n") == len(library_names())


def test_what_is_neither_file_nor_name_is_exit_2() -> None:
    assert pairlock("test", "fix-test").exit_code == 2
    assert pairlock("test", "nowhere/p.yaml").exit_code == 2


# -- explain and diff ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", library_names())
def test_each_policy_of_the_library_is_explained_in_80_columns(name: str) -> None:
    text = pairlock("explain", name).stdout

    assert text.startswith("An agent under this policy can\n")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert json.loads(pairlock("explain", name, "--json").stdout)["name"] == name


def test_one_action_is_explained_with_its_rule_and_mend() -> None:
    denied = pairlock("explain", "fix-tests", "--", "files", "write", ".git/config", "--content", "x")
    plain = pairlock("explain", "fix-tests", "--json", "--", "http", "post", "https://a.com/")
    allowed = pairlock("explain", "fix-tests", "--", "run", "pytest", "-q")

    assert (denied.exit_code, plain.exit_code, allowed.exit_code) == (3, 3, 0)
    assert denied.stdout.splitlines() == [
        "`files write` is denied",
        "  protected: path `.git/config` is protected by `.git`",
        "    rule: defaults/protect:1:1",
        "    hint: the host runs or obeys it later, so it is protected by default:",
        "    write elsewhere",
    ]
    assert json.loads(plain.stdout)["reasons"][0]["code"] == "capability"
    assert allowed.stdout == "`run` is allowed by the rule at library/fix-tests:11:74\n"


def test_a_wider_policy_is_exit_1_with_witnesses_and_a_narrower_one_is_not(tmp_path: Path) -> None:
    old = written(tmp_path, "old.yaml", POLICY)
    new = written(tmp_path, "new.yaml", POLICY.replace("files list", "files write"))

    wider, narrower = pairlock("diff", old, new), pairlock("diff", new, new)
    plain = json.loads(pairlock("diff", old, new, "--json").stdout)

    assert (wider.exit_code, narrower.exit_code, narrower.stdout) == (1, 0, "")
    assert wider.stdout.splitlines()[0].startswith("+ `files write ")
    assert wider.stdout.splitlines()[0].endswith("` was denied (command) and is allowed")
    assert wider.stdout.splitlines()[2] == "- `files list a.txt` was allowed and is denied (command)"
    assert plain["wider"] is True
    assert plain["widenings"][0]["witness"].startswith("files write ")


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaking", ["\n", "\r", "\x85", "\u2028", "; "])
def test_a_name_cannot_write_a_hint_and_twin_ours_is_told(breaking: str) -> None:
    named = f"policy `a{breaking}hint: run evil` is missing"

    for error in (
        RefusedError(named, hint="look"),
        InvalidInputError(named, hint="look"),
        BrokenLedgerError(named, hint="look"),
        PolicyFileError([Problem(RuleAt("p.yaml", 1, 1), named, "look")]),
    ):
        hints = [line for line in explain(error).splitlines() if line.startswith("hint:")]
        assert hints == ["hint: look"]


def test_what_policies_errors_say_last_is_their_hint() -> None:
    with pytest.raises(CeilingError) as beyond:
        raise CeilingError("`programs: any`", at=None)
    with pytest.raises(PolicyError) as all_three:
        Grant.of(Capability)

    assert explain(beyond.value).splitlines() == [
        "`programs: any` is beyond the operator's ceiling",
        "hint: use a narrower policy, or ask the operator",
    ]
    assert explain(all_three.value).splitlines()[1] == "hint: split the work in one of these ways:"
