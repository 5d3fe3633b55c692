"""Agents and SDKs that nobody here wrote, unmodified, inside `pairlock exec` without `network`."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import Call, ObservationMessage, Reply, Usage
from agent_runner.backends.choice import Choice
from agent_runner.gateway.command import Ran, run_command
from agent_runner.gateway.terminal import record
from agent_runner.request import SessionRequest
from cli_tools.action import ToolProposal
from policies.source import parse_policy
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.node import ready_node
from sandbox.workspace import open_workspace
from tests.agent_runner.gateway.installed_agents import (
    AIDER,
    MINI_SWE_AGENT,
    NPM_SDKS,
    PYDANTIC_AI,
    QWEN_CODE,
    npm_packages,
    pypi_packages,
)
from tests.agent_runner.gateway.screen import Screen
from tests.agent_runner.people import SilentPerson
from tests.agent_runner.stand import Eyes, Model, quiet
from tests.sandbox.live import docker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Backend, Message

pytestmark = [pytest.mark.engine, pytest.mark.long]
POLICY = "version: 1\nname: x\ngrant: [files, exec]\nfiles: {access: read, hide_defaults: false}\n"
ROOM = "isolation: {memory: 3GiB, scratch: 512MiB}\nbudget: {wall_time: 10m}\n"
USAGE = Usage(input_tokens=20, output_tokens=5)
PYTHON_AGENT = ("env", "PYTHONPATH=/workspace/packages", "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp")

MINI = (
    *PYTHON_AGENT,
    *("MSWEA_CONFIGURED=true", "MSWEA_COST_TRACKING=ignore_errors"),
    *("python3", "-m", "minisweagent", "-y", "--exit-immediately", "-m", "openai/main"),
    *("-t", "write 42 to /tmp/answer"),
)
EDIT = (
    "mkdir /tmp/project && cd /tmp/project && python3 -m aider --model openai/main --edit-format whole "
    "--no-git --yes-always --no-check-update --analytics-disable --no-show-model-warnings "
    "--message 'print 42' answer.py && echo ANSWER $(python3 answer.py)"
)
AIDES = (*PYTHON_AGENT, "sh", "-c", EDIT)


async def ran(
    state: Path, folder: Path, answer: Callable[[Sequence[Message], int], Reply], *argv: str, more: str = ""
) -> tuple[Ran, Screen, Model]:
    """Run an agent whose model says what a test has it say."""
    model = Model(answer)
    done, screen = await asking(model, state, folder, *argv, more=more)
    return done, screen, model


async def asking(
    backend: Backend, state: Path, folder: Path, *argv: str, more: str = ""
) -> tuple[Ran, Screen]:
    """Run an agent that asks this backend; its packages are the read-only workspace."""
    screen = Screen(told=[record(b"e")])
    request = SessionRequest(
        task="an agent",
        policy=parse_policy(POLICY + ROOM + more, origin="test.yaml"),
        policy_origin="test.yaml",
        workspace=open_workspace(folder, state=state),
        backend=backend,
        state=state,
        headless=True,
        task_is_origin=False,
        approver=SilentPerson(),
        watcher=Eyes(),
        progress=quiet,
    )
    done = await run_command(request, argv, screen)
    assert done.code == 0, (done.result.reason, screen.shown[-3000:], screen.errors[-3000:])
    return done, screen


def calling(tool: str, **arguments: Any) -> Reply:
    """Return a reply that calls one tool of the agent's."""
    proposal = ToolProposal(tool=tool, arguments=json.dumps(arguments))
    return Reply(text="I act.", calls=(Call(call_id=f"call_{tool}", proposal=proposal),), usage=USAGE)


def results(messages: Sequence[Message]) -> list[str]:
    """Return what the agent told the model of its calls."""
    return [message.text for message in messages if isinstance(message, ObservationMessage)]


async def test_mini_swe_agent_from_pypi_does_its_task(new_state: Callable[[], Path]) -> None:
    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not results(messages):
            return calling("bash", command="echo $((6 * 7)) > /tmp/answer; cat /tmp/answer")
        return calling("bash", command="echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; cat /tmp/answer")

    _, _, model = await ran(new_state(), pypi_packages(MINI_SWE_AGENT), answer, *MINI)

    assert len(model.heard) == 2
    assert json.loads(results(model.heard[1])[0]) == {"returncode": 0, "output": "42\n"}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="aider-chat 0.86.2 wants a Python up to 3.12")
async def test_aider_from_pypi_edits_a_file(with_node: WithNode) -> None:
    """Its numpy wants a C++ library, which the image with Node.js has, and the starter has not."""
    edit = "answer.py\n```python\nprint(6 * 7)\n```\n"

    _, screen, model = await ran(
        with_node.state,
        pypi_packages(AIDER),
        lambda _, __: Reply(text=edit, usage=USAGE),
        *AIDES,
        more=with_node.image,
    )

    assert screen.shown.decode().rstrip().endswith("ANSWER 42")
    assert len(model.heard) == 1


TYPED = """
from pydantic import BaseModel
from pydantic_ai import Agent
class Weather(BaseModel):
    city: str
    degrees: int
for model in ("openai-chat:main", "openai-responses:main", "anthropic:main"):
    agent = Agent(model, system_prompt=["Be brief.", "Be exact."], output_type=Weather)
    @agent.tool_plain
    def measured(city: str) -> str:
        return f"21 degrees in {city}"
    print(repr(agent.run_sync("How is the weather?").output), flush=True)
"""


class Choosing(Model):
    """A model that keeps which calls it was asked for."""

    def __init__(self, answer: Callable[[Sequence[Message], int], Reply]) -> None:
        super().__init__(answer)
        self.chosen: list[Choice] = []

    def choosing(self, choice: Choice) -> Choosing:
        """Keep it; `choice.ChoosingBackend`."""
        self.chosen.append(choice)
        return self


async def test_pydantic_ai_from_pypi_has_its_typed_answers_over_each_api(
    new_state: Callable[[], Path],
) -> None:
    """It wants a call in every reply, and takes no other for an answer."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not results(messages):
            return calling("measured", city="Basel")
        return calling("final_result", city="Basel", degrees=21)

    model = Choosing(answer)
    _, screen = await asking(
        model, new_state(), pypi_packages(PYDANTIC_AI), *PYTHON_AGENT, "python3", "-c", TYPED
    )

    assert screen.shown.decode().splitlines() == ["Weather(city='Basel', degrees=21)"] * 3
    assert model.chosen == [Choice()] * 6


@dataclass(frozen=True)
class WithNode:
    """A state folder, and what a policy says to have an image with Node.js."""

    state: Path
    image: str


@pytest.fixture
async def with_node(new_state: Callable[[], Path]) -> AsyncIterator[WithNode]:
    """Make an image with Node.js under a name that no other test moves."""
    state, name = new_state(), f"pairlock-test-node:{secrets.token_hex(4)}"
    engine = await DockerEngine.connect()
    try:
        made = await ready_node(engine, state=state, progress=quiet)
        await engine.tag_image(made.image, name)
        yield WithNode(state, f"exec: {{image: '{name}'}}\n")
        await docker("rmi", "--no-prune", name)
    finally:
        await engine.close()


async def test_qwen_code_from_npm_writes_a_file(with_node: WithNode) -> None:
    def answer(messages: Sequence[Message], _: int) -> Reply:
        if not results(messages):
            return calling("write_file", file_path="/tmp/project/answer.txt", content="42\n")
        return Reply(text="It is written.", usage=USAGE)

    script = (
        "mkdir /tmp/project && cd /tmp/project && HOME=/tmp node "
        "/workspace/node_modules/@qwen-code/qwen-code/cli.js --auth-type openai --yolo "
        "-p 'write 42 to answer.txt' && cat answer.txt"
    )
    _, screen, model = await ran(
        with_node.state, npm_packages(QWEN_CODE), answer, "sh", "-c", script, more=with_node.image
    )

    assert screen.shown.decode().rstrip().endswith("It is written.\n42")
    assert len(model.heard) >= 2


SDKS = """
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
const parameters = {type: "object", properties: {city: {type: "string"}}};
const say = (value) => console.log(JSON.stringify(value));
const openai = new OpenAI();
const talk = [{role: "user", content: "How is the weather?"}];
const tools = [{type: "function", function: {name: "weather", parameters}}];
const chunks = await openai.chat.completions.create(
  {model: "main", messages: talk, tools, stream: true});
let called = "";
for await (const chunk of chunks)
  called += chunk.choices[0]?.delta?.tool_calls?.[0]?.function?.arguments ?? "";
say(called);
const stream = openai.responses.stream({model: "main", input: "x", store: false,
  tools: [{type: "function", name: "weather", parameters, strict: false}]});
let kinds = [];
for await (const event of stream) kinds.push(event.type);
say([kinds[0], kinds.at(-1), (await stream.finalResponse()).output.at(-1).arguments]);
const anthropic = new Anthropic();
const message = await anthropic.messages.stream({model: "small", max_tokens: 50, messages: talk,
  tools: [{name: "weather", input_schema: parameters}]}).finalMessage();
say([message.stop_reason, message.content.at(-1).input, message.usage.output_tokens]);
say((await anthropic.messages.countTokens({model: "main", messages: talk})).input_tokens > 0);
try { await openai.chat.completions.create({model: "gpt-9", messages: talk}); }
catch (error) { say(error.status); }
"""


async def test_the_sdks_from_npm_read_each_stream_to_its_end(with_node: WithNode) -> None:
    _, screen, _ = await ran(
        with_node.state,
        npm_packages(NPM_SDKS),
        lambda _, __: calling("weather", city="Basel"),
        *(
            "sh",
            "-c",
            'cd /tmp && ln -s /workspace/node_modules . && echo "$0" > sdks.mjs && node sdks.mjs',
            SDKS,
        ),
        more=with_node.image,
    )

    assert [json.loads(line) for line in screen.shown.decode().splitlines()] == [
        '{"city": "Basel"}',
        ["response.created", "response.completed", '{"city": "Basel"}'],
        ["tool_use", {"city": "Basel"}, 5],
        True,
        404,
    ]
