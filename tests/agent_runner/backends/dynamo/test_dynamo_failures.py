"""NVIDIA Dynamo that is not ready, overloaded, loses a worker in mid-stream, or whose client goes away."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.failure import ModelServerError
from tests.agent_runner.backends.dynamo.conversing import LIST, TALK, backend, cached_share
from tests.agent_runner.backends.dynamo.deployment import WAIT_SECONDS, aggregated, deployed, disaggregated
from tests.agent_runner.backends.dynamo.passer import passing

if TYPE_CHECKING:
    from agent_runner.backends.chat_completions import OpenAIBackend
    from tests.agent_runner.backends.dynamo.deployment import Deployment

pytestmark = pytest.mark.long  # it installs Dynamo, and brings it up several times
LONG = 4000
"""Tokens of a reply that the engine takes many seconds for."""


async def until_at_work(dynamo: Deployment, count: int) -> None:
    """Wait until the frontend has this many requests in its hands."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await asyncio.to_thread(dynamo.at_work) != count:  # noqa: ASYNC110 - another process's figure
            await asyncio.sleep(0.02)


async def refusal(asked: OpenAIBackend) -> ModelServerError:
    """Ask, and return why there was no reply."""
    with pytest.raises(ModelServerError) as caught:
        await asked.ask(TALK, ())
    await asked.close()
    return caught.value


async def test_without_a_worker_it_is_not_ready_and_a_session_waits_for_one(tmp_path: Path) -> None:
    """Its `/health` says healthy all the while; a question would be 404, as for a model that never comes."""
    with deployed(tmp_path) as dynamo:
        dynamo.start_frontend()
        async with asyncio.timeout(WAIT_SECONDS):
            while await asyncio.to_thread(dynamo.get, "/v1/models") is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        error = await refusal(backend(dynamo.url))
        waiting = backend(dynamo.url, attempts=20)
        asking = asyncio.create_task(waiting.ask(TALK, ()))
        await asyncio.sleep(1)
        early = asking.done()
        dynamo.start_worker("worker")
        reply = await asyncio.wait_for(asking, WAIT_SECONDS)
        await waiting.close()

    assert error.failure.kind == "overloaded"
    assert "has the model not ready" in error.message
    assert not early
    assert reply.usage.output_tokens > 0


async def test_an_overloaded_one_is_asked_again(tmp_path: Path) -> None:
    """529: its workers have more to do than the operator allows."""
    with aggregated(tmp_path, "--active-decode-blocks-threshold", "0.0001", workers=1) as dynamo:
        busy = backend(dynamo.url, output_tokens=LONG)
        occupying = asyncio.create_task(busy.ask(TALK, ()))
        await until_at_work(dynamo, 1)
        async with asyncio.timeout(WAIT_SECONDS):
            error = None
            while error is None:  # the router hears of the load a moment later
                hasty = backend(dynamo.url)
                try:
                    await hasty.ask(TALK, ())
                except ModelServerError as caught:
                    error = caught
                await hasty.close()
        patient = backend(dynamo.url, attempts=20)
        asking = asyncio.create_task(patient.ask(TALK, ()))
        await asyncio.sleep(1)
        early = asking.done()
        occupying.cancel()
        await asyncio.gather(occupying, return_exceptions=True)
        reply = await asyncio.wait_for(asking, WAIT_SECONDS)
        await busy.close()
        await patient.close()

    assert (error.failure.kind, error.failure.status) == ("overloaded", 529)
    assert "Service temporarily overloaded" in error.message
    assert not early
    assert reply.usage.output_tokens > 0


async def test_a_worker_killed_in_mid_stream_is_an_error_chunk_and_no_half_reply(tmp_path: Path) -> None:
    """With nobody else to go on, the stream ends with `data: {"error": …}`, and then it is 503."""
    with aggregated(tmp_path, workers=1) as dynamo:
        asked = backend(dynamo.url, output_tokens=LONG)
        asking = asyncio.create_task(asked.ask(TALK, ()))
        await until_at_work(dynamo, 1)
        await asyncio.sleep(0.5)  # into the stream
        dynamo.kill("worker0")
        with pytest.raises(ModelServerError) as caught:
            await asyncio.wait_for(asking, WAIT_SECONDS)
        await asked.close()
        after = await refusal(backend(dynamo.url))

    assert caught.value.failure.kind == "broken"
    assert "failed within its reply" in caught.value.message
    assert after.failure.kind == "overloaded"


async def test_a_stream_goes_on_elsewhere_where_the_operator_lets_it_migrate(tmp_path: Path) -> None:
    """`--migration-limit`: the reply is whole although the worker that began it was killed.

    A session that is bound to its worker (the default, `hard`) goes nowhere else, for as long as it is bound.
    """
    with aggregated(tmp_path, "--migration-limit", "3", "--router-session-affinity-mode", "soft") as dynamo:
        async with passing(dynamo.port) as passer:
            asked = backend(passer.url, output_tokens=600)
            asking = asyncio.create_task(asked.ask(TALK, ()))
            await until_at_work(dynamo, 1)
            await asyncio.sleep(0.5)
            dynamo.kill(await asyncio.to_thread(_at_work, dynamo))
            reply = await asyncio.wait_for(asking, WAIT_SECONDS)
            await asked.close()

    assert len(passer.asked) == 1
    assert reply.usage.output_tokens == 600


def _at_work(dynamo: Deployment) -> str:
    """Return the worker that has used the most processor time since it registered: the one that speaks."""

    def ticks(name: str) -> int:
        fields = Path(f"/proc/{dynamo.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    names = [name for name in dynamo.processes if name.startswith("worker")]
    before = {name: ticks(name) for name in names}
    time.sleep(0.7)
    return max(names, key=lambda name: ticks(name) - before[name])


async def test_without_migration_the_question_is_asked_again_from_its_start(tmp_path: Path) -> None:
    """By another name: the one that is bound to the dead worker is sent there for ten seconds more."""
    with aggregated(tmp_path) as dynamo:
        async with passing(dynamo.port) as passer:
            asked = backend(passer.url, attempts=5, output_tokens=600)
            asking = asyncio.create_task(asked.ask(TALK, ()))
            await until_at_work(dynamo, 1)
            await asyncio.sleep(0.5)
            dynamo.kill(await asyncio.to_thread(_at_work, dynamo))
            reply = await asyncio.wait_for(asking, WAIT_SECONDS)
            await asked.close()

    assert len(passer.asked) > 1
    assert passer.sessions[0] not in passer.sessions[1:]
    assert reply.usage.output_tokens > 600, "what the dead worker said is counted, too"


async def test_a_question_that_is_given_up_frees_its_worker(tmp_path: Path) -> None:
    with aggregated(tmp_path, workers=1) as dynamo:
        asked = backend(dynamo.url, output_tokens=LONG)
        asking = asyncio.create_task(asked.ask(TALK, ()))
        await until_at_work(dynamo, 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        async with asyncio.timeout(10):  # the reply would have taken longer
            await until_at_work(dynamo, 0)
        await asked.close()


@pytest.mark.parametrize("bootstrap", [False, True])
async def test_disaggregated_calls_and_counts_what_was_cached(tmp_path: Path, *, bootstrap: bool) -> None:
    """One worker prefills, one decodes; with bootstrap ports usage says 0, and the router has the figure."""
    with disaggregated(tmp_path, bootstrap=bootstrap) as dynamo:
        async with passing(dynamo.port, "call") as passer:
            asked = backend(passer.url, output_tokens=200)
            reply = await asked.ask(TALK, (LIST,))
            await asked.close()
        grown, changed = backend(dynamo.url), backend(dynamo.url)
        share = await cached_share(grown, lambda _: "You act. " * 60)
        other = await cached_share(changed, lambda turn: f"It is {turn} o'clock. " + "You act. " * 60, ())
        await grown.close()
        await changed.close()

    assert len(reply.calls) == 1
    assert share >= 0.95
    assert other < 0.2
