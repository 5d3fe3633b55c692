"""Libraries in which agents are written, unmodified, inside `pairlock exec` without `network`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import Reply
from tests.agent_runner.gateway.installed_agents import FRAMEWORKS, STRANDS_AGENTS, pypi_packages
from tests.agent_runner.gateway.test_real_agents import PYTHON_AGENT, USAGE, calling, ran, results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message

pytestmark = [pytest.mark.engine, pytest.mark.long]
MEASURED = '''
def measured(city: str) -> str:
    """Measure."""
    return f"21 degrees in {city}"
'''
OPENAI_AGENTS = """
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
set_tracing_disabled(True)
for model in ("main", OpenAIChatCompletionsModel(model="main", openai_client=AsyncOpenAI())):
    other = Agent(name="other", model=model)
    agent = Agent(name="one", model=model, tools=[function_tool(measured)], handoffs=[other])
    print(Runner.run_sync(agent, "How is the weather?").final_output, flush=True)
"""
LANGGRAPH = """
import warnings
warnings.simplefilter("ignore")
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from langgraph.prebuilt import create_react_agent
for streaming in (False, True):
    for model in (
        ChatOpenAI(model="main", streaming=streaming),
        ChatOpenAI(model="main", streaming=streaming, use_responses_api=True),
        ChatAnthropic(model="main", streaming=streaming, max_tokens=99),
    ):
        talk = create_react_agent(model, [measured]).invoke({"messages": [("user", "How is the weather?")]})
        print(talk["messages"][-1].text, flush=True)
"""
STRANDS = """
from strands import Agent, tool
from strands.models.anthropic import AnthropicModel
from strands.models.openai import OpenAIModel
from strands.models.openai_responses import OpenAIResponsesModel
for model in (
    OpenAIModel(model_id="main"),
    OpenAIResponsesModel(model_id="main"),
    AnthropicModel(model_id="main", max_tokens=99),
):
    print(str(Agent(model=model, tools=[tool(measured)], callback_handler=None)("How is it?")).strip())
"""
PROGRAMS = {
    "the OpenAI Agents SDK over two APIs": (FRAMEWORKS, OPENAI_AGENTS, 2),
    "LangGraph over three, whole and streamed": (FRAMEWORKS, LANGGRAPH, 6),
    "Strands over three": (STRANDS_AGENTS, STRANDS, 3),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_tool_of_the_programs_is_called_and_its_result_told(
    new_state: Callable[[], Path], name: str
) -> None:
    packages, program, agents = PROGRAMS[name]

    def answer(messages: Sequence[Message], _: int) -> Reply:
        told = results(messages)
        return Reply(text=f"It has {told[0]}.", usage=USAGE) if told else calling("measured", city="Basel")

    script = 'echo "$0" > /tmp/one.py && python3 /tmp/one.py'
    _, screen, model = await ran(
        new_state(), pypi_packages(packages), answer, *PYTHON_AGENT, "sh", "-c", script, MEASURED + program
    )

    assert screen.shown.decode().splitlines() == ["It has 21 degrees in Basel."] * agents
    assert len(model.heard) == 2 * agents
