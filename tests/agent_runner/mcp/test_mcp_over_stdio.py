"""`pairlock tools mcp` as clients start it: the SDK's client over stdio, npm's inspector, real containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.promises.pairlock import pairlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine
POLICY = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n'


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Return a command line, on a workspace with one file."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "a.txt").write_text("one\n")
    (tmp_path / "policy.yaml").write_text(POLICY)
    return ["tools", "mcp", "--policy", str(tmp_path / "policy.yaml"), "--workspace", str(workspace)]


async def test_a_client_reads_and_writes_in_a_container_and_the_diff_waits(
    new_state: Callable[[], Path], tmp_path: Path, words: list[str]
) -> None:
    state = new_state()
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "agent_runner", *words],
        env={**os.environ, "PAIRLOCK_STATE": str(state)},
    )
    with (tmp_path / "stderr").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            read = await client.call_tool("files_read", {"path": "a.txt"})
            await client.call_tool("files_write", {"path": "b.txt", "content": "two\n"})
            denied = await client.call_tool("http_get", {"url": "https://example.com/"})

    ended = re.search(r"session ([0-9a-z]{12}): the client has gone", (tmp_path / "stderr").read_text())
    assert ended is not None, (tmp_path / "stderr").read_text()
    diff = pairlock("diff", ended[1], state=state)
    verified = pairlock("audit", "verify", ended[1], state=state)

    assert "files_read" in names
    assert "one" in read.content[0].text  # type: ignore[union-attr]  # a text
    assert denied.is_error
    assert "+two" in diff.stdout
    assert not (tmp_path / "workspace" / "b.txt").exists()
    assert verified.returncode == 0, verified.stdout


@pytest.mark.long
def test_the_inspector_of_npm_lists_and_calls_tools(
    new_state: Callable[[], Path], tmp_path: Path, words: list[str]
) -> None:
    npm = shutil.which("npm")
    assert npm is not None, "CI has npm"
    there = tmp_path / "inspector"
    install = [
        npm,
        "install",
        "--silent",
        "--no-fund",
        "--no-audit",
        "--ignore-scripts",
        "--prefix",
        str(there),
    ]
    subprocess.run([*install, "@modelcontextprotocol/inspector@0"], check=True, timeout=600)
    inspector = str(there / "node_modules" / ".bin" / "mcp-inspector")
    environment = {**os.environ, "PAIRLOCK_STATE": str(new_state())}

    def inspect(*method: str) -> dict[str, Any]:
        served = [sys.executable, "-m", "agent_runner", *words]
        done = subprocess.run(
            [inspector, "--cli", *served, *method],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    listed = inspect("--method", "tools/list")
    read = inspect("--method", "tools/call", "--tool-name", "files_read", "--tool-arg", "path=a.txt")

    assert "files_read" in [tool["name"] for tool in listed["tools"]]
    assert "one" in read["content"][0]["text"]
