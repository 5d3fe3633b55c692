"""Coding agents that read of a model's server in a file of their own, unmodified, inside `pairlock exec`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import Reply
from tests.agent_runner.gateway.installed_agents import CLINE, CONTINUE, PI, npm_packages
from tests.agent_runner.gateway.test_coding_agents import COMMAND, SCRIPT
from tests.agent_runner.gateway.test_real_agents import USAGE, WithNode, calling, ran, results, with_node

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message

__all__ = ["with_node"]
pytestmark = [pytest.mark.engine, pytest.mark.long]
MODULES = "/workspace/node_modules"
URL = "http://127.0.0.1:3128/v1"
PI_MODELS = {
    "providers": {
        "pairlock": {"baseUrl": URL, "apiKey": "OPENAI_API_KEY", "api": "API", "models": [{"id": "main"}]}
    }
}
PI_PROGRAM = f"{MODULES}/@mariozechner/pi-coding-agent/dist/cli.js"
PI_AGENT = f"PI_OFFLINE=1 node {PI_PROGRAM} --provider pairlock --model main -p"
CONTINUE_MODELS = {
    "name": "pairlock",
    "version": "1.0.0",
    "schema": "v1",
    "models": [{"name": "main", "provider": "openai", "model": "main", "apiBase": URL, "apiKey": "none"}],
}
CONTINUE_AGENT = (
    "CONTINUE_TELEMETRY_ENABLED=0 node "
    f"{MODULES}/@continuedev/cli/dist/cn.js --config /tmp/config.yaml --auto -p"
)
CLINE_PROGRAM = f"{MODULES}/@cline/cli-linux-x64/bin/cline"


def working(tool: str, **arguments: object) -> Callable[[Sequence[Message], int], Reply]:
    """Return a model that has a command run, and then says that it is done."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        return calling(tool, **arguments) if not results(messages) else Reply(text="Done.", usage=USAGE)

    return answer


@pytest.mark.parametrize("api", ["openai-completions", "openai-responses"])
async def test_pi_from_npm_writes_a_file(with_node: WithNode, api: str) -> None:
    """Over messages it sends a beta header, which is refused."""
    models = json.dumps(PI_MODELS).replace('"API"', json.dumps(api))
    first = f"mkdir -p ~/.pi/agent && echo '{models}' > ~/.pi/agent/models.json && "

    _, screen, model = await ran(
        with_node.state,
        npm_packages(PI),
        working("bash", command=COMMAND),
        *("sh", "-c", first + SCRIPT.format(agent=PI_AGENT)),
        more=with_node.image,
    )

    assert screen.shown.decode().split() == ["Done.", "42"]
    assert [results(heard) for heard in model.heard] == [[], ["42\n"]]


async def test_continues_program_from_npm_writes_a_file(with_node: WithNode) -> None:
    first = f"echo '{json.dumps(CONTINUE_MODELS)}' > /tmp/config.yaml && "

    _, screen, model = await ran(
        with_node.state,
        npm_packages(CONTINUE),
        working("Bash", command=COMMAND),
        *("sh", "-c", first + SCRIPT.format(agent=CONTINUE_AGENT)),
        more=with_node.image,
    )

    assert screen.shown.decode().split() == ["Done.", "42"]
    assert [results(heard) for heard in model.heard] == [[], ["42\n"]]


async def test_cline_from_npm_writes_a_file(new_state: Callable[[], Path]) -> None:
    """It leaves a process of its own behind, which ends with the session."""
    first = f"{CLINE_PROGRAM} auth -p openai -k none -m main -b {URL} > /dev/null && "
    agent = f"{CLINE_PROGRAM} -P openai -m main --auto-approve true"

    _, screen, model = await ran(
        new_state(),
        npm_packages(CLINE),
        working("run_commands", commands=[COMMAND]),
        *("sh", "-c", first + SCRIPT.format(agent=agent)),
    )

    assert screen.shown.decode().split()[-2:] == ["Done.", "42"]
    (told,) = results(model.heard[-1])
    assert json.loads(told)[0]["result"] == "42\n"
