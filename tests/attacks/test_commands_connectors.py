"""Connectors that are programs, in real containers: what an agent's values reach, and what they do not."""

from __future__ import annotations

import json
import shlex
import textwrap
from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from sandbox.docker_engine import DockerEngine
from tests.promises.conftest import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine
SERVER = """
import json, os, sys
def say(number, result):
    print(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        version = asked["params"]["protocolVersion"]
        say(asked["id"], {"protocolVersion": version, "capabilities": {"tools": {}},
                          "serverInfo": {"name": "x", "version": "1"}})
    elif asked.get("method") == "tools/call":
        told = {"arguments": asked["params"]["arguments"], "tool": asked["params"]["name"],
                "workspace": os.path.exists("/workspace/canary"), "mode": os.environ.get("MODE")}
        say(asked["id"], {"content": [{"type": "text", "text": json.dumps(told, sort_keys=True)}]})
    elif "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"],
                          "error": {"code": -32601, "message": "no such method"}}), flush=True)
"""
TOOL = {
    "summary": "Tell what came.",
    "needs": ["network"],
    "sinks": {"to": "text"},
    "arguments": {"to": {"required": True}, "more": {}},
}
DECLARED = """version: 1
commands:
  - name: desk look
    summary: Print the words, and what is to be seen from there.
    program: python3
    connector: desk
    needs: [network]
    sinks: {}
    arguments:
      word: {type: pattern, pattern: "(?s).*", literal: true}
    argv:
      - "-c"
      - "PROGRAM"
      - "word/{word}"
    examples: [{line: desk look x, runs: false}]
"""
PROGRAM = (
    "from os import *; import sys; "
    "print(fsencode(sys.argv[1][5:]).hex(), path.exists('/workspace/canary'), getenv('MODE'))"
)
POLICY = """version: 1
name: connected
grant: [GRANT]
commands:
  allow: ["desk *", "talk *", "files *"]
  rules: [{command: talk say, arguments: {to: [web]}}]
"""
WORDS = ["-x", "--", "@file", "--opt=value", "$(id)", "%s", "*", "\u2013x", "'\"\\", " ", "\u202e"]


@pytest.fixture
def lab(new_state: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return a place to run sessions in, with a container for a declared command and an MCP server."""
    configured = {
        "version": 1,
        "connectors": {
            "programs": {"desk": {"image": "pairlock/starter", "variables": {"MODE": "tried"}}},
            "mcp": {
                "talk": {
                    "container": "desk",
                    "program": ["python3", "-c", textwrap.dedent(SERVER)],
                    "tools": {"say": TOOL},
                },
                "gone": {"container": "desk", "program": ["no-such-program"], "tools": {"say": TOOL}},
            },
        },
    }
    path = tmp_path / "config" / "config.yaml"
    (path.parent / "commands").mkdir(parents=True)
    path.write_text(json.dumps(configured))
    (path.parent / "commands" / "desk.yaml").write_text(DECLARED.replace("PROGRAM", PROGRAM))
    monkeypatch.setattr(models, "configuration_path", lambda: path)
    monkeypatch.setattr("agent_runner.commands.configuration_path", lambda: path)
    return Lab(new_state=new_state, folder=tmp_path)


def policy(grant: str) -> str:
    network = "network: {allow: []}\n" if "network" in grant else ""
    return POLICY.replace("GRANT", grant) + network


def call(word: str) -> dict[str, str]:
    return {"tool": "desk_look", "arguments": json.dumps({"word": word})}


async def test_values_reach_a_connectors_program_byte_for_byte_in_a_container_without_the_workspace(
    lab: Lab,
) -> None:
    """One container serves the session's calls, is in the ledger, and is gone at the end."""
    workspace = lab.workspace(canary="1")
    actions = [f"desk look -- {shlex.quote(word)}" for word in WORDS]

    ran = await lab.arun(policy("files, network"), actions, workspace=workspace)

    shown = [seen.text.split(" ", 1) for seen in ran.seen[: len(WORDS)]]
    assert [word for word, _ in shown] == [word.encode().hex() for word in WORDS]
    assert {rest for _, rest in shown} == {"False tried"}
    (noted,) = ran.entries("safety.noted")
    assert noted["code"] == "connector"
    engine = await DockerEngine.connect()
    try:
        names = [found.container_id for found in await engine.owned(state="")]
    finally:
        await engine.close()
    assert not [name for name in names if name in noted["message"]]


def test_a_server_that_is_a_program_answers_in_its_container(lab: Lab) -> None:
    """Its call is decided as any: the twin without the capability is denied."""
    line = "talk say --to web --more='--to=evil'"

    ran = lab.run(
        policy("files, network"),
        [line, "talk say --more x", "gone say --to x"],
        workspace=lab.workspace(canary="1"),
    )
    denied = lab.run(policy("files"), [line], workspace=lab.workspace())

    told = json.loads(ran.seen[0].text)
    assert told == {
        "arguments": {"more": "--to=evil", "to": "web"},
        "mode": "tried",
        "tool": "say",
        "workspace": False,
    }
    assert ran.seen[1].kind == "error"
    assert ran.seen[2].kind == "denied"
    assert [reason.code for reason in denied.seen[0].reasons] == ["capability"]
    assert denied.entries("safety.noted") == []
