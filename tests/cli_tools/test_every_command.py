"""Every command at least once: carried out, in a container or with a server, and denied without its needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli_tools.action import LineProposal, tool_name
from cli_tools.catalogue import built_in
from policies.decide import decide
from policies.grant import Grant
from policies.request import Denied, SessionFacts
from policies.source import parse_policy
from tests.cli_tools.repositories import commit, new_repository
from tests.promises.conftest import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli_tools.command import Command

CATALOGUE = built_in()
POLICY = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", "git *", run, "run *", python, shell, output last]}
"""
DIFF = "@@ -1 +1 @@\n-two\n+three\n"
CALLS: dict[str, tuple[str | dict[str, str], str]] = {
    "files write": ({"command": "files write b.txt", "content": "two\n"}, "created b.txt"),
    "files patch": ({"command": "files patch b.txt", "content": DIFF}, "applied 1 hunks"),
    "files read": ("files read b.txt", "1  three"),
    "files stat": ("files stat b.txt", "bytes: 6"),
    "files search": ("files search thr b.txt", "b.txt:1: three"),
    "files move": ("files move b.txt c/b.txt", "c/b.txt"),
    "files list": ("files list c", "b.txt  6"),
    "git status": ("git status", "?? c/"),
    "git diff": ("git diff", "+changed"),
    "git log": ("git log", "first"),
    "git show": ("git show HEAD", "+one"),
    "git blame": ("git blame a.txt", "Ada"),
    "files remove": ("files remove c --recursive", "removed"),
    "run": ("run printf '%s' hello", "hello"),
    "shell": ({"command": "shell", "content": "head -c 90000 /dev/zero | tr '\\0' z"}, "bytes left out"),
    "output last": ("output last --from 89990", "z" * 10),
    "python": ("python --code 'print(6 * 7)'", "42"),
    "run --background": ("run --background sh -c 'echo said; sleep 300'", "job 1 was started"),
    "run status": ("run status 1", "runs: sh -c"),
    "run output": ("run output 1", "run output 1 --from"),
    "run stop": ("run stop 1", "was stopped"),
}
SERVED = {"http": "test_http", "slack": "slack", "mail": "mail"}
"""Groups whose commands reach a server, and where they do in tests."""


@pytest.mark.engine
def test_each_command_of_a_container_is_carried_out_in_one(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """One session, one call each; what it shows says that it was done. `finish` ends it."""
    lab = Lab(new_state=new_state, folder=tmp_path)
    folder = new_repository(lab.workspace())
    commit(folder, "first", a_txt="one\n")
    (folder / "a.txt").write_text("changed\n")

    ran = lab.run(POLICY, [action for action, _ in CALLS.values()], workspace=folder)

    for (name, (_, expected)), seen in zip(CALLS.items(), ran.seen, strict=False):
        assert seen.kind == "done", (name, seen.text)
        assert expected in seen.text, (name, seen.text)
    done = {entry["command"] for entry in ran.entries("action.intended")}
    here = {command.name for command in CATALOGUE.commands if command.path[0] not in SERVED}
    assert done == here - {"delegate"}  # tests of delegation start sessions of their own


@pytest.mark.parametrize("group", SERVED)
def test_each_command_that_reaches_a_server_is_called_in_a_test(group: str) -> None:
    """In those of its group, which run it against a server on loopback, by line or as a tool."""
    folder = Path(__file__).parent
    texts = "".join(path.read_text() for path in folder.rglob("test_*.py") if SERVED[group] in str(path))

    for command in CATALOGUE.commands:
        if command.path[0] == group:
            called = rf"\"{tool_name(command)}\"|\b{command.name} |\"{command.name}\""
            assert re.search(called, texts), command.name


@pytest.mark.parametrize(
    "declared", [c for c in CATALOGUE.commands if c.needs], ids=lambda command: command.name
)
def test_each_command_is_denied_under_every_grant_that_lacks_what_it_needs(declared: Command) -> None:
    """B58: allowed by name each time; the twin is a grant that holds it, where no reason is `capability`."""
    body = b"x" if declared.body_needed and "--" not in declared.examples[0] else None
    request = CATALOGUE.parse(LineProposal(line=declared.examples[0], body=body)).request()

    for grant in Grant:
        held = [capability.value for capability in grant.capabilities]
        written = {"version": 1, "name": "x", "grant": held, "commands": {"allow": [declared.name]}}
        if grant is Grant.NETWORK_EXEC:
            written["exec"] = {"contents": "public"}
        decision = decide(parse_policy(json.dumps(written), origin="x"), SessionFacts(grant=grant), request)
        codes = {reason.code for reason in decision.reasons} if isinstance(decision, Denied) else set()

        assert ("capability" in codes) == (not declared.needs <= grant.capabilities), grant.label
