"""The official SDKs, unmodified and inside, find their APIs by the variables alone."""

from __future__ import annotations

import asyncio
import errno
import json
from typing import TYPE_CHECKING, Final

import pytest

from agent_runner.backends.aloud import TextTold
from agent_runner.backends.backend import Call, ObservationMessage, Reply, Usage
from agent_runner.gateway.command import run_command
from agent_runner.gateway.terminal import record
from agent_runner.request import SessionRequest
from cli_tools.action import ToolProposal
from policies.source import parse_policy
from sandbox.workspace import open_workspace
from tests.agent_runner.gateway.packages import SDKS, copied
from tests.agent_runner.gateway.screen import Screen
from tests.agent_runner.people import SilentPerson
from tests.agent_runner.stand import Eyes, Model, quiet
from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from agent_runner.backends.aloud import Tell
    from agent_runner.backends.backend import Message
    from cli_tools.schema import Tool

pytestmark = [pytest.mark.engine, pytest.mark.long]
POLICY = "version: 1\nname: x\ngrant: [files, exec]\nfiles: {access: read, hide_defaults: false}\n"
PARAMETERS = '{"type": "object", "properties": {"city": {"type": "string"}}}'


def weather(messages: Sequence[Message], _: int) -> Reply:
    """Ask for the weather, and then tell it."""
    usage = Usage(input_tokens=20, output_tokens=5, cached_tokens=8)
    results = [message.text for message in messages if isinstance(message, ObservationMessage)]
    if results:
        return Reply(text=f"It is {results[-1]}.", usage=usage)
    call = Call(call_id="call_1", proposal=ToolProposal(tool="weather", arguments='{"city": "Basel"}'))
    return Reply(text="I look.", calls=(call,), usage=usage)


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    """Return a folder with the SDKs."""
    with reachable_folder() as folder:
        yield copied(SDKS, folder)


async def talked(  # noqa: PLR0913 - a program, where it runs, and who is around it
    state: Path,
    packages: Path,
    code: str,
    *,
    runtime: str,
    model: Model | None = None,
    screen: Screen | None = None,
) -> tuple[list[object], Model]:
    """Return what a program in a container printed, which has nothing but the variables and its packages."""
    model, screen = model or Model(weather), screen or Screen()
    screen.told.append(record(b"e"))
    policy = parse_policy(POLICY + f"isolation: {{runtime: {runtime}}}\n", origin="test.yaml")
    request = SessionRequest(
        task="an SDK",
        policy=policy,
        policy_origin="test.yaml",
        workspace=open_workspace(packages, state=state),
        backend=model,
        state=state,
        headless=True,
        task_is_origin=False,
        approver=SilentPerson(),
        watcher=Eyes(),
        progress=quiet,
    )
    done = await run_command(request, ("python3", "-c", HEAD + code), screen)
    assert done.code == 0, bytes(screen.errors).decode()[-2000:] or done.result.reason
    return [json.loads(line) for line in screen.shown.decode().splitlines()], model


HEAD = f"import json, sys\nsys.path.insert(0, '/workspace')\nP = json.loads({PARAMETERS!r})\n"
CHAT = """
import os, openai
client = openai.OpenAI()
tools = [{"type": "function", "function": {"name": "weather", "parameters": P}}]
talk = [{"role": "user", "content": "How is the weather?"}]
first = client.chat.completions.create(model=os.environ["OPENAI_MODEL"], messages=talk, tools=tools)
message = first.choices[0].message
talk += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
print(json.dumps([message.content, message.tool_calls[0].function.arguments]))
said = [c.choices[0].delta.content for c in client.chat.completions.create(
    model="small", messages=talk, tools=tools, stream=True) if c.choices and c.choices[0].delta.content]
print(json.dumps("".join(said)))
print(json.dumps([model.id for model in client.models.list()]))
try:
    client.chat.completions.create(model="gpt-9", messages=talk)
except openai.NotFoundError as error:
    print(json.dumps(error.code))
"""

RESPONSES = """
import openai
client = openai.OpenAI()
tools = [{"type": "function", "name": "weather", "parameters": P, "strict": False}]
first = client.responses.create(model="main", input="How is the weather?", tools=tools, store=False)
call = first.output[-1]
print(json.dumps([first.output_text, call.type, call.arguments]))
talk = [{"role": "user", "content": "How is the weather?"}]
talk += [item.model_dump(exclude_none=True) for item in first.output]
talk.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
with client.responses.stream(model="main", input=talk, tools=tools, store=False) as stream:
    kinds = [event.type for event in stream]
    print(json.dumps([stream.get_final_response().output_text, kinds[0], kinds[-1]]))
"""

MESSAGES = """
import anthropic
client = anthropic.Anthropic()
tools = [{"name": "weather", "input_schema": P}]
talk = [{"role": "user", "content": "How is the weather?"}]
counted = client.messages.count_tokens(model="main", messages=talk, tools=tools).input_tokens
first = client.messages.create(model="main", max_tokens=100, messages=talk, tools=tools)
call, cached = first.content[-1], first.usage.cache_read_input_tokens
print(json.dumps([counted > 0, first.stop_reason, call.input, cached]))
talk += [{"role": "assistant", "content": first.content}]
result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
talk += [{"role": "user", "content": [result]}]
with client.messages.stream(model="main", max_tokens=100, messages=talk, tools=tools) as stream:
    print(json.dumps("".join(stream.text_stream)))
    print(json.dumps(stream.get_final_message().usage.output_tokens))
print(json.dumps([model.id for model in client.models.list()]))
"""


NO_WAY_OUT = """
import socket
for address in ("192.0.2.1", "1.1.1.1"):
    try:
        socket.create_connection((address, 443), 3)
    except OSError as error:
        print(json.dumps(error.errno))
"""
CHATTED: Final[list[object]] = [
    ["I look.", '{"city": "Basel"}'],
    "It is sunny.",
    ["main", "small"],
    "model_not_found",
]
RESPONDED: Final[list[object]] = [
    ["I look.", "function_call", '{"city": "Basel"}'],
    ["It is sunny.", "response.created", "response.completed"],
]
MESSAGED: Final[list[object]] = [
    [True, "tool_use", {"city": "Basel"}, 8],
    "It is sunny.",
    5,
    ["main", "small"],
]


async def test_the_sdks_talk_with_the_hosts_model_and_have_no_network(
    new_state: Callable[[], Path], packages: Path
) -> None:
    """Files + exec: the loopback leads to the model, and nothing leads anywhere else."""
    told, model = await talked(
        new_state(), packages, NO_WAY_OUT + CHAT + RESPONSES + MESSAGES, runtime="runc"
    )

    unreachable = [errno.ENETUNREACH, errno.ENETUNREACH]
    assert told == [*unreachable, *CHATTED, *RESPONDED, *MESSAGED]
    assert len(model.heard) == 6


class Speaking(Model):
    """Say a reply in two halves, the second one when the first was shown; `aloud.AloudBackend`."""

    def __init__(self) -> None:
        super().__init__(lambda _, __: Reply(text="Hello."))
        self.shown = asyncio.Semaphore(0)

    async def ask_aloud(self, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell) -> Reply:
        """Return the reply once it was said."""
        await tell(TextTold(text="Hel"))
        await self.shown.acquire()
        await tell(TextTold(text="lo."))
        return await self.ask(messages, tools)


class Reader(Screen):
    """Tell the model what of it was read."""

    def __init__(self, model: Speaking) -> None:
        super().__init__()
        self._model = model

    async def show(self, data: bytes, *, errors: bool) -> None:
        """Keep it."""
        before = self.shown.count(b'"Hel"')
        await super().show(data, errors=errors)
        for _ in range(self.shown.count(b'"Hel"') - before):
            self._model.shown.release()


ALOUD = """
import openai, anthropic
talk = [{"role": "user", "content": "Say hello."}]
say = lambda words: print(json.dumps(words), flush=True)
for chunk in openai.OpenAI().chat.completions.create(model="main", messages=talk, stream=True):
    if chunk.choices and chunk.choices[0].delta.content: say(chunk.choices[0].delta.content)
for event in openai.OpenAI().responses.create(model="main", input=talk, store=False, stream=True):
    if event.type == "response.output_text.delta": say(event.delta)
with anthropic.Anthropic().messages.stream(model="main", max_tokens=9, messages=talk) as stream:
    for words in stream.text_stream: say(words)
"""


async def test_the_sdks_read_each_half_of_a_reply_as_the_model_says_it(
    new_state: Callable[[], Path], packages: Path
) -> None:
    """The second half is said only once the first was read inside: passed on whole, it would never end."""
    model = Speaking()

    told, _ = await talked(new_state(), packages, ALOUD, runtime="runc", model=model, screen=Reader(model))

    assert told == ["Hel", "lo."] * 3


@pytest.mark.gvisor
async def test_an_sdk_talks_with_the_hosts_model_under_gvisor(
    new_state: Callable[[], Path], packages: Path
) -> None:
    told, _ = await talked(new_state(), packages, MESSAGES, runtime="gvisor")

    assert told == MESSAGED
