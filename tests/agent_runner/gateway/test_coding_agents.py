"""Coding agents that npm hands out as one program, unmodified, inside `pairlock exec` without `network`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import Reply, UserMessage
from tests.agent_runner.gateway.installed_agents import (
    CLAUDE_CODE,
    CODEX,
    OPENCODE,
    npm_packages,
)
from tests.agent_runner.gateway.test_real_agents import (
    USAGE,
    calling,
    ran,
    results,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message

pytestmark = [pytest.mark.engine, pytest.mark.long]
COMMAND = "echo $((6 * 7)) > answer.txt; cat answer.txt"
SCRIPT = "mkdir /tmp/project && cd /tmp/project && {agent} 'write 42 to answer.txt' && cat answer.txt"

CODEX_PROVIDER = (
    'model_providers.pairlock={name="pairlock",base_url="http://127.0.0.1:3128/v1",'
    'env_key="OPENAI_API_KEY",wire_api="responses"}'
)
CODEX_PROGRAM = "/workspace/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"
CODEX_AGENT = (
    f"HOME=/tmp {CODEX_PROGRAM} exec --model main -c model_provider=pairlock -c '{CODEX_PROVIDER}' "
    "--disable multi_agent --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox"
)
NO_SEARCH = "-c 'web_search=\"disabled\"'"

CLAUDE_PROGRAM = "/workspace/node_modules/@anthropic-ai/claude-code-linux-x64/claude"
CLAUDE_AGENT = f"HOME=/tmp {CLAUDE_PROGRAM} --permission-mode acceptEdits --allowedTools Bash,WebSearch -p"

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC"
"""Eight by eight, red."""

OPENCODE_CONFIGURATION = {
    "model": "pairlock/main",
    "small_model": "pairlock/small",
    "provider": {
        "pairlock": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": "http://127.0.0.1:3128/v1"},
            "models": {"main": {}, "small": {}},
        }
    },
}
OPENCODE_AGENT = (
    f"HOME=/tmp OPENCODE_CONFIG_CONTENT='{json.dumps(OPENCODE_CONFIGURATION)}' "
    "OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 "
    "/workspace/node_modules/opencode-linux-x64/bin/opencode run"
)


async def test_codex_from_npm_writes_a_file(new_state: Callable[[], Path]) -> None:
    """Its own tools go over the responses; what a provider's servers would do is switched off."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not results(messages):
            return calling("exec_command", cmd=COMMAND)
        return Reply(text="It is written.", usage=USAGE)

    script = SCRIPT.format(agent=f"{CODEX_AGENT} {NO_SEARCH}")
    _, screen, model = await ran(new_state(), npm_packages(CODEX), answer, "sh", "-c", script)

    assert screen.shown.decode().split() == ["It", "is", "written.", "42"]
    assert len(model.heard) == 2
    assert results(model.heard[1])[0].rstrip().endswith("42")


async def test_codex_that_offers_a_search_of_the_servers_is_refused_and_asks_no_model(
    new_state: Callable[[], Path],
) -> None:
    """The twin: the same program, with the provider's web search left on."""
    script = f"cd /tmp && {CODEX_AGENT} 'write 42' 2>&1 | grep -o 'capability.*search`'"

    _, screen, model = await ran(new_state(), npm_packages(CODEX), _never, "sh", "-c", script)

    told = "capability: a request to a model may not hold a tool of type `web_search`"
    assert set(screen.shown.decode().splitlines()) == {told}
    assert model.heard == []


def _never(messages: Sequence[Message], turn: int) -> Reply:
    raise AssertionError((messages, turn))


async def test_opencode_from_npm_writes_a_file(new_state: Callable[[], Path]) -> None:
    """It asks the small model for a title, and the main one for the rest."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not _is_at_work(messages):
            return Reply(text="A title", usage=USAGE)
        if not results(messages):
            return calling("bash", command=COMMAND, description="writes the answer")
        return Reply(text="It is written.", usage=USAGE)

    script = SCRIPT.format(agent=OPENCODE_AGENT)
    _, screen, model = await ran(new_state(), npm_packages(OPENCODE), answer, "sh", "-c", script)

    assert screen.shown.decode().split()[-4:] == ["It", "is", "written.", "42"]
    assert [results(heard) for heard in model.heard if results(heard)] == [["42\n"]]


def _is_at_work(messages: Sequence[Message]) -> bool:
    """Say whether a question is of the task: that for a title begins by asking for one."""
    return "title generator" not in repr(messages[0])


async def test_claude_code_from_npm_writes_a_file(new_state: Callable[[], Path]) -> None:
    """It sends betas with each request, and none where it is told to, as `exec` does by a variable."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not results(messages):
            return calling("Bash", command=COMMAND, description="writes the answer")
        return Reply(text="It is written.", usage=USAGE)

    script = SCRIPT.format(agent=CLAUDE_AGENT)
    _, screen, model = await ran(new_state(), npm_packages(CLAUDE_CODE), answer, "sh", "-c", script)

    assert screen.shown.decode().split() == ["It", "is", "written.", "42"]
    assert [results(heard) for heard in model.heard] == [[], ["42"]]


async def test_claude_code_reads_a_picture_and_its_model_sees_it(new_state: Callable[[], Path]) -> None:
    """It stands in the result of a tool; a refusal there would be one of every question after it."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not results(messages):
            return calling("Read", file_path="/tmp/one.png")
        return Reply(text="It is red.", usage=USAGE)

    script = f"cd /tmp && echo {PNG} | base64 -d > one.png && {CLAUDE_AGENT} 'what is in one.png?'"
    _, screen, model = await ran(new_state(), npm_packages(CLAUDE_CODE), answer, "sh", "-c", script)

    assert screen.shown.decode().strip() == "It is red."
    shown = [each.media for each in model.heard[-1] if isinstance(each, UserMessage) and each.media]
    assert [[media.kind for media in each] for each in shown] == [["image/png"]]


async def test_claude_code_that_has_the_servers_search_is_refused_and_goes_on(
    new_state: Callable[[], Path],
) -> None:
    """Its search is a tool of the provider's servers, which it asks for in a question of its own."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not results(messages):
            return calling("WebSearch", query="the weather in Basel")
        return Reply(text="There is no search.", usage=USAGE)

    script = f"cd /tmp && {CLAUDE_AGENT} 'how is the weather?'"
    _, screen, model = await ran(new_state(), npm_packages(CLAUDE_CODE), answer, "sh", "-c", script)

    assert screen.shown.decode().strip() == "There is no search."
    (told,) = results(model.heard[1])
    assert "capability: a request to a model may not hold a tool of type `web_search_" in told
