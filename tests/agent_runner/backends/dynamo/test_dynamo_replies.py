"""NVIDIA Dynamo with its simulated engine: replies, hints, sessions that stay, the cached prefix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import ModelMessage, ObservationMessage, SystemMessage, UserMessage
from agent_runner.backends.dynamo import Dynamo
from agent_runner.backends.server import Server
from cli_tools.action import ToolProposal
from policies.units import Count
from tests.agent_runner.backends.dynamo.conversing import LIST, TALK, backend, cached_share
from tests.agent_runner.backends.dynamo.deployment import MODEL, aggregated
from tests.agent_runner.backends.dynamo.passer import passing
from tests.agent_runner.backends.test_cli_model import configure, pairlock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agent_runner.backends.dynamo.deployment import Deployment

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


async def test_a_session_stays_with_one_worker_and_sessions_spread_over_both(dynamo: Deployment) -> None:
    """Each question is new to the caches: without the header the router would choose anew each time."""
    kept, spread = [], set()
    async with passing(dynamo.port) as passer:
        for session in range(6):
            asked = backend(passer.url, output_tokens=2)
            for turn in range(5):
                await asked.ask((UserMessage(text=f"{session} {turn} " + "new " * turn * 20),), ())
            await asked.close()
            kept.append(set(passer.workers[-5:]))
            spread |= kept[-1]
        names = passer.sessions

    assert [len(workers) for workers in kept] == [1] * 6
    assert len(spread) == 2, "both workers had sessions"
    assert len(set(names)) == 6
    assert all(len(set(names[start : start + 5])) == 1 for start in range(0, 30, 5))


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
    assert found["listed"]["text"] == "`acme/tiny`, context 32768 tokens"
    assert found["ready"]["text"] == "Dynamo's workers are there"
    assert {"listed", "ready", "answers", "counts", "tools", "keeps prefix"} <= found.keys()
