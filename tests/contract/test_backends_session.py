"""The main job with a model behind a server: the example's turns come as tool calls, all else is real."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.scripted import load_script
from cli_tools.action import Action, tool_name
from cli_tools.catalogue import built_in
from tests.contract.model_server import Dialect, Saying, answer, serving

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.engine
CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLE = CHECKOUT / "examples" / "fix-tests"
KEY = "sk-a-key-of-this-test-0123456789"


def arguments_of(action: Action) -> str:
    """Return an action as a model would write it: JSON."""
    given: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in action.parameters.items()
        if value not in {None, (), False}
    }
    if action.body is not None:
        given[str(action.command.body_parameter)] = action.body.decode()
    return json.dumps(given)


def turns() -> list[Saying]:
    """Return the example's script as what a model behind a server says."""
    catalogue = built_in()
    sayings: list[Saying] = []
    for number, turn in enumerate(load_script(EXAMPLE / "script.yaml").turns):
        actions = [catalogue.parse(proposal) for proposal in turn.proposals()]
        calls = [
            (f"call_{number}_{place}", tool_name(action.command), arguments_of(action))
            for place, action in enumerate(actions)
        ]
        sayings.append(Saying(text=turn.text, calls=calls))
    return sayings


async def pairlock(state: Path, home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run pairlock and return its code and what it said."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PAIRLOCK_STATE": str(state),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *packages]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CI": "true",
        "THE_KEY": KEY,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent_runner",
        *arguments,
        cwd=home,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 300)
    return process.returncode or 0, out.decode(), err.decode()


def configure(home: Path, dialect: Dialect, base_url: str) -> None:
    """Write the operator's configuration."""
    backend = "openai" if dialect == "chat" else "anthropic"
    folder = home / ".config" / "pairlock"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "version: 1\nmodels:\n  default:\n"
        f"    backend: {backend}\n    base_url: {base_url}\n    model: m\n    key: {{env: THE_KEY}}\n"
    )


@pytest.mark.parametrize("dialect", ["chat", "messages"])
async def test_a_model_behind_a_server_mends_the_package_in_a_sandbox(
    dialect: Dialect, new_state: Callable[[], Path], tmp_path: Path
) -> None:
    state, workspace = new_state(), tmp_path / "workspace"
    shutil.copytree(EXAMPLE / "package", workspace)
    plays = [answer(529, {"message": "busy", "code": 529}), *(turn.play(dialect) for turn in turns())]

    async with serving(*plays) as server:
        configure(tmp_path, dialect, server.base_url(dialect))
        code, out, err = await pairlock(
            state, tmp_path, "run", "make the tests pass", "-p", "fix-tests", "-w", str(workspace), "--json"
        )

    assert code == 0, err
    account = json.loads(out.splitlines()[-1])
    assert (account["status"], account["changes"]) == ("done", 2)
    assert account["totals"]["denials"] == 1
    assert account["totals"]["cached_tokens"] == 40 * len(turns())
    last = json.dumps(server.asked[-1].json["messages"])
    assert "passed" in last
    assert "http get" in last  # what was denied was told
    _no_key_anywhere(state, out + err)


def _no_key_anywhere(state: Path, said: str) -> None:
    files = [path for path in state.rglob("*") if path.is_file()]

    assert len(files) > 5
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in said


async def test_a_server_that_refuses_is_exit_7_and_a_closed_ledger(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    state, workspace = new_state(), tmp_path / "workspace"
    workspace.mkdir()

    async with serving(answer(401, {"error": {"message": f"Incorrect API key: {KEY}"}})) as server:
        configure(tmp_path, "chat", server.base_url("chat"))
        code, out, err = await pairlock(state, tmp_path, "run", "t", "-p", "fix-tests", "-w", str(workspace))

    assert code == 7, err
    assert "answered 401: Incorrect API key: [key]" in err
    assert "hint: the server does not accept the key" in err
    _no_key_anywhere(state, out + err)
