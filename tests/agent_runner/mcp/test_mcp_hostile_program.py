"""An MCP server that is a program and means harm: real processes in a real guest, and one error each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from agent_runner.mcp import asking
from agent_runner.mcp.asking import asked_inside
from cli_tools.errors import ActionError
from tests.cli_tools.door import open_door
from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY: Final = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: [run]}
"""
GREETS: Final = """
import json, sys
def say(**fields): print(json.dumps({"jsonrpc": "2.0", **fields}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        say(id=asked["id"], result={"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                                    "serverInfo": {"name": "x", "version": "1"}})
    elif asked.get("method") == "tools/call":
        CALLED
    elif "id" in asked and "method" in asked:
        say(id=asked["id"], error={"code": -32601, "message": "no"})
"""
DONE: Final = 'say(id=asked["id"], result={"content": [{"type": "text", "text": "done"}]})'
WAIT_SECONDS: Final = 120.0


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a place with a workspace."""
    with reachable_folder() as folder:
        (folder / "workspace").mkdir()
        yield folder


async def called(place: Path, code: str) -> str:
    """Return what a call of a server with that code told."""
    async with open_door(place, POLICY) as door, asyncio.timeout(WAIT_SECONDS):
        outcome = await asked_inside(door.sandbox, ("python3", "-c", code), "desk", "create", {})
    return outcome.output.decode()


@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "sys.stderr.write('x' * 1_000_000)",
        'say(method="notifications/tools/list_changed")',
        'print("\\x1b[2J not json", flush=True)',
    ],
)
async def test_a_program_that_answers_is_heard_whatever_it_says_beside(place: Path, before: str) -> None:
    assert await called(place, GREETS.replace("CALLED", f"{before}; {DONE}")) == "done"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            GREETS.replace("CALLED", "print('{}\\n' * 5000, flush=True)"),
            "more than 2000 messages for one call",
        ),
        (
            GREETS.replace("CALLED", "print('[' + '{},' * 30000 + '1]', flush=True)"),
            "more than 50000 values in one message",
        ),
        (
            GREETS.replace("CALLED", "print('[' + '0,' * 60000 + '0]', flush=True)"),
            "more than 50000 values in one message",
        ),
        (
            GREETS.replace("CALLED", "[sys.stdout.write('x' * 65536) for _ in iter(int, 1)]"),
            "it said 16777216 bytes or more",
        ),
        (
            GREETS.replace("CALLED", "[sys.stderr.write('x' * 65536) for _ in iter(int, 1)]"),
            "it said 16777216 bytes or more",
        ),
        ("import sys; sys.exit(0)", "`desk` did not answer"),
        ("print('no protocol')", "`desk` did not answer"),
    ],
)
async def test_a_program_that_says_too_much_or_nothing_costs_its_call_alone(
    place: Path, code: str, told: str
) -> None:
    with pytest.raises(ActionError) as caught:
        await called(place, code)

    assert told in caught.value.message


async def test_a_program_that_never_greets_is_ended_in_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "CALL_SECONDS", 3.0)

    with pytest.raises(ActionError) as caught:
        await called(place, "import time; time.sleep(100)")

    assert (caught.value.code, "sent" in caught.value.message) == ("timeout", False)
