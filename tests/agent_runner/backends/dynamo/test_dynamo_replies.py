"""NVIDIA Dynamo with its simulated engine: replies, hints, sessions that stay, the cached prefix."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import pytest

from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import ModelMessage, ObservationMessage, SystemMessage, UserMessage
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.dynamo import Dynamo
from agent_runner.backends.retry import Patience
from agent_runner.backends.server import Server
from agent_runner.fold import read_conversation
from audit.verify import verify_session
from cli_tools.action import ToolProposal
from policies.units import Count
from tests.agent_runner.backends.dynamo.conversing import LIST, TALK, backend, cached_share
from tests.agent_runner.backends.dynamo.deployment import MODEL, WAIT_SECONDS, aggregated
from tests.agent_runner.backends.dynamo.passer import passing
from tests.agent_runner.backends.test_cli_model import configure, pairlock
from tests.agent_runner.stand import SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agent_runner.backends.dynamo.deployment import Deployment
    from tests.agent_runner.stand import Stand

pytestmark = pytest.mark.long  # it installs Dynamo, and brings it up
LEAST_SHARE: Final = 0.95


@pytest.fixture(scope="module")
def dynamo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Return a frontend with two workers."""
    with aggregated(tmp_path_factory.mktemp("dynamo"), "--enable-anthropic-api") as deployment:
        yield deployment


@pytest.mark.parametrize("stream", [True, False])
async def test_text_and_tokens_come_in_pieces_and_whole(dynamo: Deployment, *, stream: bool) -> None:
    async with passing(dynamo.port, "plain") as passer:
        asked = backend(passer.url, stream=stream)
        reply = await asked.ask(TALK, ())
        await asked.close()

    assert reply.text == "The session granted two of three capabilities."
    assert (reply.calls, reply.stop) == ((), "stop")
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert (reply.first_token_seconds is not None) == stream


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_come_through_its_parser_and_their_results_go_back(
    dynamo: Deployment, *, stream: bool
) -> None:
    async with passing(dynamo.port, "call", "calls", "plain") as passer:
        asked = backend(passer.url, stream=stream, output_tokens=200)
        first = await asked.ask(TALK, (LIST,))
        seen = tuple(ObservationMessage(call_id=c.call_id, text="a.py", refused=False) for c in first.calls)
        talk = (*TALK, ModelMessage(reply=first), *seen)
        second = await asked.ask(talk, (LIST,))
        more = tuple(ObservationMessage(call_id=c.call_id, text="b.py", refused=False) for c in second.calls)
        last = await asked.ask((*talk, ModelMessage(reply=second), *more), (LIST,))
        await asked.close()

    def arguments(calls: object) -> list[object]:
        assert isinstance(calls, tuple)
        return [json.loads(call.proposal.arguments) for call in calls]

    assert first.text.strip() == "I will list the files."
    assert [call.proposal.tool for call in first.calls if isinstance(call.proposal, ToolProposal)] == [
        "files_list"
    ]
    assert arguments(first.calls) == [{"path": "src", "limit": 20}]
    assert arguments(second.calls) == [{"path": "a"}, {"path": "b"}]
    assert len({call.call_id for call in (*first.calls, *second.calls)}) == 3
    assert last.text == "The session granted two of three capabilities."


async def test_a_tool_that_was_never_declared_comes_through_and_is_ours_to_refuse(dynamo: Deployment) -> None:
    """Dynamo checks neither names nor arguments; the gate does (tests of the loop)."""
    async with passing(dynamo.port, "undeclared") as passer:
        asked = backend(passer.url, output_tokens=200)
        reply = await asked.ask(TALK, (LIST,))
        await asked.close()

    (proposal,) = (call.proposal for call in reply.calls)
    assert isinstance(proposal, ToolProposal)
    assert (proposal.tool, json.loads(proposal.arguments)) == ("format_disk", {"sure": True})


async def test_what_it_thinks_aloud_is_apart_from_what_it_says(dynamo: Deployment) -> None:
    async with passing(dynamo.port, "thought") as passer:
        asked = backend(passer.url, output_tokens=200)
        reply = await asked.ask(TALK, ())
        await asked.close()

    assert reply.text == "Denied: the network is not granted."
    assert reply.reasoning == "I must not use the network."


async def test_a_session_stays_with_its_worker_however_busy_that_is(dynamo: Deployment) -> None:
    """The twin is a question without the header: it goes to the other worker, which is idle."""
    async with passing(dynamo.port) as passer:
        sticky = backend(passer.url, output_tokens=2)
        await sticky.ask((UserMessage(text="first"),), ())
        busy = backend(passer.url, output_tokens=3000)
        busy.talk._session = sticky.talk._session
        occupying = asyncio.create_task(busy.ask((UserMessage(text="busy " * 2000),), ()))
        async with asyncio.timeout(WAIT_SECONDS):
            while len(passer.asked) < 2 or not await asyncio.to_thread(dynamo.at_work):  # noqa: ASYNC110 - its figure
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)  # its router hears of the load
        for number in range(3):
            await sticky.ask((UserMessage(text=f"again {number}"),), ())
        plain = Server(base_url=passer.url, model=MODEL, output_tokens=2)
        free = OpenAIBackend(plain, name="free", patience=Patience(attempts=1))
        for number in range(3):
            await free.ask((UserMessage(text=f"free {number}"),), ())
        occupying.cancel()
        await asyncio.gather(occupying, return_exceptions=True)
        for each in (sticky, busy, free):
            await each.close()

    home, kept, elsewhere = passer.workers[0], passer.workers[1:4], passer.workers[4:7]
    assert kept == [home] * 3
    assert set(elsewhere) - {home}, "without the header the idle worker has its share"
    assert len(set(passer.sessions[:5])) == 1
    assert passer.sessions[5:8] == [""] * 3


async def test_hints_reach_it_and_it_takes_them(dynamo: Deployment) -> None:
    """A field that it does not know is 400: an answer says that each of these is one of its own."""
    hints = Dynamo(priority=5, expected_output=Count(64), speculative_prefill=True)
    async with passing(dynamo.port, "plain") as passer:
        asked = backend(passer.url, hints=hints)
        reply = await asked.ask(TALK, (LIST,))
        await asked.close()

    assert reply.text.startswith("The session granted")
    assert passer.asked[0]["nvext"] == {
        "agent_hints": {"priority": 5, "osl": 64, "speculative_prefill": True},
        "extra_fields": ["timing"],
    }


async def test_a_conversation_that_only_grows_stays_in_its_cache(dynamo: Deployment) -> None:
    """At least 95 % of the tokens that could come from the cache do, over 12 turns, by Dynamo's own count."""
    asked = backend(dynamo.url)
    share = await cached_share(asked, lambda _: "You act. " * 60)
    await asked.close()

    assert share >= LEAST_SHARE


async def test_a_conversation_whose_first_line_changes_does_not(dynamo: Deployment) -> None:
    """The arm that shows that the figure above can fail: what a clock in the system text would cost."""
    asked = backend(dynamo.url)
    share = await cached_share(asked, lambda turn: f"It is {turn} o'clock. " + "You act. " * 60, ())
    await asked.close()

    assert share < 0.2


async def test_the_messages_of_its_anthropic_api_are_read_too(dynamo: Deployment) -> None:
    origin = dynamo.url.removesuffix("/v1")
    asked = AnthropicBackend(
        Server(base_url=origin, model=MODEL, output_tokens=8, prompt_cache=False), name="a"
    )
    reply = await asked.ask((SystemMessage(text="You act."), UserMessage(text="x")), (LIST,))
    await asked.close()

    assert reply.text
    assert reply.usage.output_tokens > 0


async def test_what_it_thought_over_its_anthropic_api_goes_back_and_is_taken(dynamo: Deployment) -> None:
    """It seals a thought with a word, and refuses one without; the conversation stays in its cache."""
    async with passing(dynamo.port, "thought", "call") as passer:
        origin = passer.url.removesuffix("/v1")
        server = Server(base_url=origin, model=MODEL, output_tokens=200, prompt_cache=False)
        asked = AnthropicBackend(server, name="a", patience=Patience(attempts=1))
        first = await asked.ask(TALK, (LIST,))
        second = await asked.ask((*TALK, ModelMessage(reply=first), UserMessage(text="on")), (LIST,))
        await asked.close()

    assert (first.reasoning, len(first.thoughts)) == ("I must not use the network.", 1)
    thought, said = passer.asked[1]["messages"][1]["content"]
    assert (thought["type"], thought["thinking"]) == ("thinking", first.reasoning)
    assert thought["signature"]
    assert said == {"type": "text", "text": first.text}
    assert (len(passer.asked), len(second.calls)) == (2, 1)


async def test_a_whole_session_acts_on_what_it_calls_and_counts_its_tokens(
    dynamo: Deployment, stand: Stand
) -> None:
    """The loop, the gate and the ledger, with what Dynamo's parser made of its model's words."""
    (stand.folder / "a").mkdir()
    (stand.folder / "a" / "here.py").touch()
    policy = "version: 1\nname: x\ngrant: [files]\ncommands: {allow: ['files *']}\n"
    async with passing(dynamo.port, "calls", "undeclared", "plain") as passer:
        asked = backend(passer.url, output_tokens=200)
        result = await stand.run(asked, policy)
        await asked.close()

    talk = read_conversation(stand.state, SESSION)
    seen = [m for m in talk if isinstance(m, ObservationMessage)]
    assert (result.status, result.reason) == ("done", "the model stopped without `finish`")
    assert [m.refused for m in seen] == [False, True, True]
    assert "here.py" in seen[0].text
    assert "unknown-command" in seen[2].text
    assert len(set(passer.sessions)) == 1
    assert len(set(passer.workers)) == 1
    told = [each["messages"] for each in passer.asked]
    assert told[2][: len(told[1])] == told[1], "what was said is never said otherwise"
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_model_check_says_what_it_can_do(dynamo: Deployment, tmp_path: Path) -> None:
    async with passing(dynamo.port, "plain", "report") as passer:
        block = (
            f"backend: openai, model: acme/tiny, base_url: '{passer.url}', output_tokens: 200, dynamo: {{}}"
        )
        configure(tmp_path, f"  d: {{{block}}}\n")
        code, out, err = await pairlock(tmp_path, "model", "check", "d", "--json")

    found = {each["name"]: each for each in json.loads(out)}
    assert (code, err) == (0, "")
    assert {name: each["standing"] for name, each in found.items()} == dict.fromkeys(found, "yes")
    assert (found["listed"]["text"], found["context"]["text"]) == ("`acme/tiny`", "32768 tokens")
    assert found["ready"]["text"] == "Dynamo's workers are there"
    assert list(found) == [
        *("listed", "context", "ready", "answers", "streams", "counts", "tools", "keeps prefix")
    ]
