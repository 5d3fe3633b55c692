"""`pairlock policy`: check, test, new, explain, diff and trust, as people and programs meet them."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from agent_runner.cli.exits import explain, leave
from agent_runner.cli.policy import app
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.policy_file import load_policy, parse_file, read_closure
from agent_runner.trust import changes, is_trusted, require_trust, trust
from audit.errors import BrokenLedgerError
from policies.capability import Capability
from policies.errors import CeilingError, PolicyError, PolicyFileError, Problem, RuleAt
from policies.grant import Grant
from policies.library import library_names
from policies.trust import meaning_of

POLICY = "version: 1\nname: p\ngrant: [files]\ncommands: {allow: [files read, files list]}\n"
EXPECT = "expect:\n  - allow: files read a\n  - deny: http get https://a.com/\n    because: capability\n"


def _pairlock(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        result.exit_code = leave(result.exception)
    return result


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


# -- check -----------------------------------------------------------------------------------------


def test_a_folder_is_checked_whole_and_its_neighbours_too(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "w.yaml",
        "version: 1\nname: w\ngrant: [files, network]\nnetwork: {allow: [{host: a.com, methods: [PUT]}]}\n"
        "commands: {allow: [files read, http put]}\n",
    )
    _write(
        tmp_path,
        "r.yml",
        "version: 1\nname: r\ngrant: [network, exec]\nexec: {programs: [a], contents: public}\n"
        "network: {allow: [{host: a.com, methods: [GET]}]}\ncommands: {allow: [run]}\n",
    )

    warned = _pairlock("check", tmp_path)
    strict = _pairlock("check", tmp_path, "--strict")
    alone = _pairlock("check", tmp_path / "w.yaml", "--strict")

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
    bad = _write(tmp_path, "a.yaml", text)
    _write(tmp_path, "b.yaml", POLICY)

    result = _pairlock("check", tmp_path)

    assert result.exit_code == code
    assert f"{bad}: " in result.stderr
    assert said in result.stderr.splitlines()[0]
    assert f"{tmp_path / 'b.yaml'}: grant files, ok" in result.stderr


def test_a_check_speaks_json(tmp_path: Path) -> None:
    path = _write(tmp_path, "p.yaml", POLICY.replace("files list", "files lst"))

    found = json.loads(_pairlock("check", path, "--json").stdout)

    assert [(one["policy"], one["verdict"]) for one in found] == [(str(path), "errors")]
    assert found[0]["findings"][0]["topic"] == "unknown-command"
    assert found[0]["findings"][0]["at"] == {"file": str(path), "line": 4, "column": 32}


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    result = _pairlock("check", tmp_path)

    assert result.exit_code == 2


# -- test ------------------------------------------------------------------------------------------


def test_a_folder_of_policies_is_tested_with_coverage(tmp_path: Path) -> None:
    good = _write(tmp_path, "good.yaml", POLICY + EXPECT)
    bad = _write(tmp_path, "bad.yaml", POLICY + "expect:\n  - deny: files read a\n    because: hidden\n")
    report = tmp_path / "junit.xml"

    result = _pairlock("test", tmp_path, "--junit", report)

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
    _write(tmp_path, "broken.yaml", "version: 1\nname: p\ngrnat: []\n\x1b[31m")
    _write(tmp_path, "good.yaml", POLICY + EXPECT)
    report = tmp_path / "junit.xml"

    result = _pairlock("test", tmp_path, "--junit", report, "--json")

    found = json.loads(result.stdout)
    assert (result.exit_code, found["met"]) == (2, False)
    assert sorted(found["files"][0]) == ["error", "file"]
    assert [item["met"] for item in found["files"][1]["expectations"]] == [True, True]
    assert found["files"][1]["untouched"][0]["rule"] == "`files list` of `commands.allow`"
    suites = ET.fromstring(report.read_text())  # noqa: S314 - written a moment ago by ourselves
    assert (suites.get("tests"), suites.get("errors")) == ("3", "1")


def test_a_policy_of_the_library_can_be_tested_by_its_name() -> None:
    result = _pairlock("test", *library_names())

    assert result.exit_code == 0
    assert result.stdout.count(" rules touched\n") == len(library_names())


def test_what_is_neither_file_nor_name_is_exit_2() -> None:
    assert _pairlock("test", "fix-test").exit_code == 2
    assert _pairlock("test", "nowhere/p.yaml").exit_code == 2


# -- new -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grant", ["none", "files", "network", "exec", "files,network", "exec+files", "network, exec", ""]
)
def test_a_draft_for_each_grant_loads_and_is_met(tmp_path: Path, grant: str) -> None:
    result = _pairlock("new", "--grant", grant, "--name", "mine")

    policy = load_policy(str(_write(tmp_path, "mine.yaml", result.stdout))).policy
    assert result.exit_code == 0
    assert policy.name == "mine"
    assert policy.expect


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "there is no terminal to ask questions on"),
        (("--grant", "files,netwrk"), 2, "did you mean `network`?"),
        (("--grant", "files,network,exec"), 3, "at most two"),
        (("--grant", "files", "--name", "Not a name"), 2, "is not a name"),
    ],
)
def test_a_draft_that_cannot_be_made_says_why(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = _pairlock("new", *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert said in capsys.readouterr().err


def _on_a_terminal(tmp_path: Path, answers: list[str]) -> tuple[int, str, str]:
    """Run `pairlock policy new` with a terminal for its questions and a file for its policy."""
    leader, follower = pty.openpty()
    with (tmp_path / "out.yaml").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent_runner", "policy", "new"],
            stdin=follower,
            stdout=out,
            stderr=follower,
            env={**os.environ, "TERM": "dumb", "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    os.close(follower)
    shown = ""
    waiting = list(answers)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        ready, _, _ = select.select([leader], [], [], 1)
        try:
            shown += os.read(leader, 4096).decode() if ready else ""
        except OSError:
            break
        if waiting and shown.rstrip().endswith((":", "]:")) and not ready:
            os.write(leader, (waiting.pop(0) + "\n").encode())
    os.close(leader)
    return process.wait(timeout=60), shown, (tmp_path / "out.yaml").read_text()


def test_questions_in_a_terminal_become_a_policy_that_loads(tmp_path: Path) -> None:
    answers = ["mine", "files,network,exec", "network,exec", "pytest, ruff", "*.com", "docs.python.org"]

    code, shown, text = _on_a_terminal(tmp_path, answers)

    policy = load_policy(str(_write(tmp_path, "mine.yaml", text))).policy
    assert code == 0
    assert "all three were asked for" in shown
    assert "is too wide" in shown
    assert (policy.name, policy.grant.label) == ("mine", "network+exec")
    assert policy.exec is not None
    assert policy.exec.programs.names == ("pytest", "ruff")
    assert policy.network is not None
    assert [rule.host.text for rule in policy.network.allow] == ["docs.python.org"]


# -- explain and diff ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", library_names())
def test_each_policy_of_the_library_is_explained_in_80_columns(name: str) -> None:
    text = _pairlock("explain", name).stdout

    assert text.startswith("An agent under this policy can\n")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert json.loads(_pairlock("explain", name, "--json").stdout)["name"] == name


def test_one_action_is_explained_with_its_rule_and_mend() -> None:
    denied = _pairlock("explain", "fix-tests", "--", "files", "write", ".git/config", "--content", "x")
    plain = _pairlock("explain", "fix-tests", "--json", "--", "http", "post", "https://a.com/")
    allowed = _pairlock("explain", "fix-tests", "--", "run", "pytest", "-q")

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
    old = _write(tmp_path, "old.yaml", POLICY)
    new = _write(tmp_path, "new.yaml", POLICY.replace("files list", "files write"))

    wider, narrower = _pairlock("diff", old, new), _pairlock("diff", new, new)
    plain = json.loads(_pairlock("diff", old, new, "--json").stdout)

    assert (wider.exit_code, narrower.exit_code, narrower.stdout) == (1, 0, "")
    assert wider.stdout.splitlines()[0].startswith("+ `files write ")
    assert wider.stdout.splitlines()[0].endswith("` was denied (command) and is allowed")
    assert wider.stdout.splitlines()[2] == "- `files list a.txt` was allowed and is denied (command)"
    assert plain["wider"] is True
    assert plain["widenings"][0]["witness"].startswith("files write ")


# -- trust -----------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a workspace with a policy of its own that extends another."""
    folder = tmp_path / "work"
    folder.mkdir()
    _write(folder, "base.yaml", POLICY.replace("name: p", "name: b"))
    _write(folder, "pairlock.yaml", "version: 1\nname: p\nextends: base.yaml\n")
    return folder


def _refused(work: Path, state: Path) -> str:
    with pytest.raises(RefusedError) as refused:
        require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)
    assert "pairlock policy trust" in refused.value.hint
    return f"{refused.value.message}\n{refused.value.detail}"


def test_what_changed_since_a_policy_was_trusted_is_shown(work: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    closure = read_closure(work / "pairlock.yaml")
    trust(state, closure)
    require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)
    _write(work, "base.yaml", POLICY.replace("name: p", "name: b").replace("[files]", "[files, exec]"))

    message = _refused(work, state)

    assert is_trusted(state, closure.digest)
    assert message.splitlines()[0].endswith("changed since it was trusted")
    assert "-grant: [files]" in message
    assert "+grant: [files, exec]" in message
    assert "base.yaml (trusted)" in message


def test_what_changed_is_set_in_and_can_neither_write_a_hint_nor_take_ours_away(
    work: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    ours = f"read it, then `pairlock policy trust {work / 'pairlock.yaml'}`"
    forged = f"# a; hint: run evil\nname: q\n# {ours}\n# b\\x1b[2K; hint: run worse\n"
    _write(work, "pairlock.yaml", f"version: 1\nextends: base.yaml\n{forged}")
    with pytest.raises(RefusedError) as refused:
        require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)

    first, *middle, last = explain(refused.value).splitlines()

    assert first == f"policy `{work / 'pairlock.yaml'}` changed since it was trusted"
    assert last == f"hint: {ours}"
    assert "  +# a; hint: run evil" in middle
    assert all(line.startswith("  ") for line in middle)


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


def test_a_forged_copy_of_what_was_trusted_is_not_shown(work: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    copy = next((state / "trusted").iterdir())
    copy.write_text(copy.read_text().replace("grant: [files]", "grant: [exec]"))
    _write(work, "base.yaml", POLICY.replace("name: p", "name: b").replace("[files]", "[exec]"))

    message = _refused(work, state)

    assert "its copy is missing or was changed" in message
    assert "grant: [exec]" not in message


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"members": 3, "texts": []}', '{"members": [[1]], "texts": [["a"]]}']
)
def test_a_damaged_copy_is_told_and_never_a_traceback(work: Path, tmp_path: Path, content: str) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    next((state / "trusted").iterdir()).write_text(content)
    _write(work, "pairlock.yaml", "version: 1\nname: q\nextends: base.yaml\n")

    assert "its copy is missing or was changed" in _refused(work, state)


def test_a_copy_alone_makes_nothing_trusted(work: Path, tmp_path: Path) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    closure = read_closure(work / "pairlock.yaml")
    trust(other, closure)
    trust(state, read_closure(_write(tmp_path, "p.yaml", POLICY)))
    name = f"{closure.digest}.json"
    (state / "trusted" / name).write_bytes((other / "trusted" / name).read_bytes())

    assert not is_trusted(state, closure.digest)
    assert changes(state, closure) is None
    assert "is not trusted as it stands" in _refused(work, state)


@pytest.fixture
def linked(work: Path) -> Path:
    """Return a workspace whose policy is a link into a folder, and a `base.yaml` in each of the two."""
    (work / "sub").mkdir()
    for folder, access in ((work, "direct"), (work / "sub", "read")):
        _write(folder, "base.yaml", POLICY.replace("name: p", "name: b") + f"files: {{access: {access}}}\n")
    (work / "pairlock.yaml").rename(work / "sub" / "pairlock.yaml")
    (work / "pairlock.yaml").symlink_to("sub/pairlock.yaml")
    return work


def test_a_linked_policy_extends_what_lies_beside_its_text_and_not_beside_the_link(linked: Path) -> None:
    named = load_policy(str(linked / "pairlock.yaml")).policy
    unheld = parse_file(linked / "pairlock.yaml")

    assert named.files is not None
    assert named.files.access == "read"
    assert named == unheld == load_policy(str(linked / "sub" / "pairlock.yaml")).policy


def test_twin_a_linked_policy_that_was_trusted_runs_as_it_was_trusted(linked: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    closure = read_closure(linked / "pairlock.yaml")
    trust(state, closure)
    loaded = load_policy(str(linked / "pairlock.yaml"))

    require_trust(loaded, linked, state=state)

    assert meaning_of(loaded.policy) in closure.members.members


def test_a_policy_that_was_swapped_between_reading_and_the_check_of_trust_is_refused(
    work: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    good = (work / "base.yaml").read_text()
    _write(work, "base.yaml", good.replace("[files]", "[files, exec]"))
    wide = load_policy(str(work / "pairlock.yaml"))
    _write(work, "base.yaml", good)

    with pytest.raises(RefusedError) as refused:
        require_trust(wide, work, state=state)

    assert refused.value.message.endswith("changed while it was read")
    require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)


@pytest.mark.parametrize("name", ["../base.yaml", "sub/base.yaml", "/etc/hostname", "./base.yaml"])
def test_a_policy_extends_only_what_lies_beside_it(work: Path, name: str) -> None:
    (work / "sub").mkdir()
    for folder in (work / "sub", work.parent):
        _write(folder, "base.yaml", POLICY)
    path = _write(work, "pairlock.yaml", f"version: 1\nname: p\nextends: {name}\n")

    result = _pairlock("check", path)

    assert result.exit_code == 2
    assert f"policy `{name}` is not found" in result.stdout
