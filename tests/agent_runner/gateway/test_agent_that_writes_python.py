"""An agent whose model writes Python, unmodified, inside `pairlock exec` without `network`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import Reply
from tests.agent_runner.gateway.installed_agents import SMOLAGENTS, pypi_packages
from tests.agent_runner.gateway.test_real_agents import PYTHON_AGENT, USAGE, Choosing, asking, calling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message

pytestmark = [pytest.mark.engine, pytest.mark.long]
TURNS = """
from smolagents import CodeAgent, OpenAIModel, ToolCallingAgent, tool
import os
@tool
def measured(city: str) -> str:
    '''Measure the temperature.

    Args:
        city: Where.
    '''
    return f"21 degrees in {city}"
for kind in (CodeAgent, ToolCallingAgent):
    model = OpenAIModel(model_id="main", api_base=os.environ["OPENAI_BASE_URL"])
    print("ANSWER", kind(tools=[measured], model=model).run("How is the weather?"), flush=True)
"""
CODE = 'I look.\n<code>\nfinal_answer(measured(city="Basel"))\n</code>'


async def test_smolagents_from_pypi_runs_the_models_code_and_its_calls(new_state: Callable[[], Path]) -> None:
    def answer(messages: Sequence[Message], turn: int) -> Reply:
        if turn == 1:
            return Reply(text=CODE, usage=USAGE)
        if turn == 2:
            return calling("measured", city="Bern")
        return calling("final_answer", answer=repr(messages[-1])[-40:])

    script = 'echo "$0" > /tmp/turns.py && python3 /tmp/turns.py'  # it reads its tools' source, from a file
    model = Choosing(answer)  # the second kind of agent wants a call in every reply
    _, screen = await asking(
        model, new_state(), pypi_packages(SMOLAGENTS), *PYTHON_AGENT, "sh", "-c", script, TURNS
    )

    answers = [line for line in screen.shown.decode().splitlines() if line.startswith("ANSWER")]
    assert answers[0] == "ANSWER 21 degrees in Basel"
    assert "21 degrees in Bern" in answers[1]
    assert len(model.heard) == 3
