"""Somebody else's agents and SDKs, unmodified, in `pairlock exec` with NVIDIA Dynamo behind it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.agent_runner.backends.dynamo.conversing import backend
from tests.agent_runner.backends.dynamo.deployment import Deployment, aggregated
from tests.agent_runner.backends.dynamo.passer import Passer, passing
from tests.agent_runner.gateway.installed_agents import AIDER, MINI_SWE_AGENT, pypi_packages
from tests.agent_runner.gateway.packages import SDKS, copied
from tests.agent_runner.gateway.test_real_agents import AIDES, MINI, PYTHON_AGENT, asking, with_node
from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent_runner.backends.chat_completions import OpenAIBackend
    from tests.agent_runner.gateway.test_real_agents import WithNode

pytestmark = [pytest.mark.engine, pytest.mark.long]
__all__ = ["with_node"]  # the fixture, for pytest to find here


@pytest.fixture(scope="module")
def dynamo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Return a frontend with one worker."""
    with aggregated(tmp_path_factory.mktemp("dynamo"), workers=1) as deployment:
        yield deployment


def model(passer: Passer) -> OpenAIBackend:
    """Return the backend of a session that asks Dynamo, with room for what a test has it say."""
    return backend(passer.url, output_tokens=200)


def offered(passer: Passer) -> list[str]:
    """Return the names of the tools that reached Dynamo with the first question."""
    return [tool["function"]["name"] for tool in passer.asked[0].get("tools", [])]


async def test_mini_swe_agent_does_its_task_with_dynamo(
    dynamo: Deployment, new_state: Callable[[], Path]
) -> None:
    """Its tool is in Dynamo's request, the call comes through Dynamo's parser, the result goes back."""
    async with passing(dynamo.port, "bash", "submit") as passer:
        asked = model(passer)
        await asking(asked, new_state(), pypi_packages(MINI_SWE_AGENT), *MINI)
        await asked.close()

    assert offered(passer) == ["bash"]
    results = [each for each in passer.asked[1]["messages"] if each["role"] == "tool"]
    assert json.loads(results[0]["content"]) == {"returncode": 0, "output": "42\n"}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="aider-chat 0.86.2 wants a Python up to 3.12")
async def test_aider_edits_a_file_with_dynamo(dynamo: Deployment, with_node: WithNode) -> None:
    async with passing(dynamo.port, "edit") as passer:
        asked = model(passer)
        _, screen = await asking(asked, with_node.state, pypi_packages(AIDER), *AIDES, more=with_node.image)
        await asked.close()

    assert screen.shown.decode().rstrip().endswith("ANSWER 42")
    assert passer.asked[0]["stream"] is True


TALK = """
import json, sys
import anthropic, openai
P = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
Q = [{"role": "user", "content": "How is the weather?"}]
say = lambda *values: print(json.dumps(values))
chat = openai.OpenAI().chat.completions
tools = [{"type": "function", "function": {"name": "weather", "description": "D", "parameters": P}}]
stream = chat.create(model="main", messages=Q, tools=tools, stream=True)
pieces = [chunk.choices[0].delta for chunk in stream if chunk.choices]
say("".join(d.content or "" for d in pieces).strip(),
    "".join(t.function.arguments or "" for d in pieces for t in d.tool_calls or []))
whole = chat.create(model="small", messages=Q, tools=tools).choices[0]
say(whole.finish_reason, whole.message.tool_calls[0].function.name)
flat = [{"type": "function", "name": "weather", "parameters": P, "strict": False}]
with openai.OpenAI().responses.stream(model="main", input="x", tools=flat, store=False) as stream:
    kinds = [event.type for event in stream]
    say(kinds[-1], json.loads(stream.get_final_response().output[-1].arguments))
messages = anthropic.Anthropic().messages
with messages.stream(model="main", max_tokens=50, messages=Q,
                     tools=[{"name": "weather", "input_schema": P}]) as stream:
    final = stream.get_final_message()
say(final.stop_reason, final.content[-1].input, final.usage.output_tokens > 0)
nonsense = chat.create(model="main", messages=Q)
say(len(nonsense.choices[0].message.content) > 0, nonsense.usage.prompt_tokens > 0)
try:
    chat.create(model="acme/tiny", messages=Q)
except openai.NotFoundError as error:
    say(error.code)
try:
    chat.create(model="main", messages=[{"role": "user", "content": "word " * 60000}])
except openai.APIStatusError as error:
    say(error.status_code, error.code)
"""
CALL: dict[str, Any] = {"city": "Basel"}


async def test_the_sdks_stream_call_tools_and_hear_errors_with_dynamo(
    dynamo: Deployment, new_state: Callable[[], Path]
) -> None:
    """Where no reply is named the simulated engine says made-up words, which come through as well."""
    with reachable_folder() as folder:
        copied(SDKS, folder / "packages")
        async with passing(dynamo.port, *["weather"] * 4) as passer:
            asked = model(passer)
            _, screen = await asking(asked, new_state(), folder, *PYTHON_AGENT, "python3", "-c", TALK)
            await asked.close()

    said = [json.loads(line) for line in screen.shown.decode().splitlines()]
    assert json.loads(said[0].pop()) == CALL
    assert said[:6] == [
        ["I look."],
        ["tool_calls", "weather"],
        ["response.completed", CALL],
        ["tool_use", CALL, True],
        [True, True],
        ["model_not_found"],
    ]
    assert said[6] == [502, "model_failed"]  # Dynamo says of what is too long that it failed, and no more
    assert offered(passer) == ["weather"]
    assert {question["model"] for question in passer.asked} == {"acme/tiny"}
