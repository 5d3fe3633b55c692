"""Commands on PATH in real containers: who wins a name, what a compromised program can do with the door."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.gateway.test_cli_exec import execute
from tests.promises.conftest import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
POLICY = """version: 1
name: stubs
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", "git *", shell, python, run]}
"""
HTTP = """version: 1
name: stubs
grant: [network, exec]
exec: {programs: any, contents: public}
network: {allow: [{host: a.example}]}
commands: {allow: ["http *", shell]}
"""


@pytest.fixture
def lab(new_state: Callable[[], Path], tmp_path: Path) -> Lab:
    """Return a place to run sessions in."""
    return Lab(new_state=new_state, folder=tmp_path)


def shell(script: str) -> dict[str, str]:
    return {"command": "shell", "content": script}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_script_calls_commands_and_each_is_in_the_ledger_with_its_parent(lab: Lab, runtime: str) -> None:
    """The image's own program wins a name; the command of that name is in PAIRLOCK_COMMANDS."""
    script = (
        "printf 'x = 1\\n' | files write a.py >/dev/null && files read a.py\n"
        "cd $PAIRLOCK_COMMANDS; echo *; cd; command -v files; command -v python3\n"
        "$PAIRLOCK_COMMANDS/python --code 'print(1+1)'; files read ../../etc/passwd; echo code $?"
    )

    ran = lab.run(POLICY + f"isolation: {{runtime: {runtime}}}\n", [shell(script)], workspace=lab.workspace())

    seen, intended = ran.seen[0], ran.entries("action.intended")
    assert seen.kind == "done", seen.text
    lines = seen.text.splitlines()
    assert any(line.endswith("x = 1") for line in lines)
    assert lines[1:4] == [
        "files git python run shell",
        "/tmp/.pairlock-commands/files", "/usr/bin/python3",
    ]  # fmt: skip
    assert "2" in lines
    assert "code 102" in lines
    assert [(entry["command"], entry["via"]) for entry in intended[:4]] == [
        ("shell", "model"), ("files write", "guest"), ("files read", "guest"), ("python", "guest"),
    ]  # fmt: skip
    assert {entry["parent"] for entry in intended[1:4]} == {intended[0]["action"]}


def test_a_request_of_a_programs_is_decided_by_the_egress_rules(lab: Lab) -> None:
    ran = lab.run(
        HTTP,
        [
            shell(
                "http get https://b.example/; echo code $?; http post https://a.example/ </dev/null; echo $?"
            )
        ],
    )

    assert "code 103" in ran.seen[0].text
    assert "b.example" in ran.seen[0].text
    assert [entry["verdict"] for entry in ran.entries("action.intended")[1:3]] == ["denied", "denied"]


def test_a_program_that_spoils_its_commands_spoils_nobody_elses(lab: Lab) -> None:
    """Removing them, or another stub in their place, is answered for by the gate alone."""
    script = (
        "rm -r $PAIRLOCK_COMMANDS/git; printf '#!/bin/sh\\necho mine\\n' > $PAIRLOCK_COMMANDS/git\n"
        "chmod +x $PAIRLOCK_COMMANDS/git; $PAIRLOCK_COMMANDS/git\n"
        "cp /rt/bin/command /tmp/http; /tmp/http get https://a.example/ 2>/dev/null; echo $?"
    )

    ran = lab.run(POLICY, [shell(script), "files list"], workspace=lab.workspace(a="1"))

    assert ran.seen[0].text.splitlines() == ["mine", "103"]
    assert ran.seen[1].kind == "done"


def test_a_bound_workspace_has_no_commands_and_says_so(lab: Lab) -> None:
    """No unix socket is made there (docs/isolation.md), so nothing can be called; the session goes on."""
    direct = POLICY.replace(
        "commands:", "files: {access: direct, hide_defaults: false, protect_defaults: false}\ncommands:"
    )

    ran = lab.run(
        direct,
        [shell("/rt/bin/command files list; echo $?; echo [$PAIRLOCK_COMMANDS]")],
        workspace=lab.workspace(),
    )

    assert ran.seen[0].text.splitlines() == [
        "104",
        "[]",
        "stderr:",
        "pairlock: no session takes commands here",
    ]


def test_somebody_elses_agent_calls_commands(new_state: Callable[[], Path], tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "script.yaml").write_text("version: 1\nturns: [{text: none}]\n")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("one\n")
    state = new_state()
    script = "files read a.txt; run true; files read no"

    done = execute(
        tmp_path, state, "-p", "p.yaml", "-w", "w", "-m", "scripted:script.yaml", "--", "sh", "-c", script
    )

    assert done.returncode == 101, done.stderr
    assert b"one" in done.stdout
    assert b"error (not-found)" in done.stderr
    (ledger,) = state.glob("sessions/*/events.jsonl")
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    intended = [line["body"] for line in lines if line["type"] == "action.intended"]
    assert [(entry["command"], entry["via"]) for entry in intended] == [
        ("exec", "person"), ("files read", "guest"), ("run", "guest"), ("files read", "guest"),
    ]  # fmt: skip
    assert {entry["parent"] for entry in intended[1:]} == {intended[0]["action"]}
