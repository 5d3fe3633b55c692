"""What a model with `dynamo` in its configuration is asked and told, by a server that imitates it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.chat_wire import ChatReader
from agent_runner.backends.configuration import OpenAIModel, read_configuration
from agent_runner.backends.dynamo import Dynamo
from agent_runner.backends.failure import ModelServerError
from agent_runner.errors import InvalidInputError
from policies.units import Count
from tests.contract.asking import TALK, asked, backend_for, refused
from tests.contract.model_server import Asked, Line, Saying, answer, data, serving, stream

if TYPE_CHECKING:
    from pathlib import Path

READY = {"model": "m", "ready": True, "namespaces": {}}
MISSING = {"ready": False, "namespaces": {"n": {"missing_worker_types": ["prefill"]}}}


def imitating(*readiness: tuple[int, object]) -> Any:
    """Return a play of a server that says this of its readiness, one by one, and then answers."""
    said = list(readiness)

    async def play(line: Line, asked: Asked) -> None:
        if asked.method == "GET":
            await answer(*said.pop(0))(line, asked)
        else:
            await Saying(text="hello").play("chat")(line, asked)

    return play


async def hang(line: Line, _: Asked) -> None:
    """Say nothing until whoever asked is gone."""
    await line.closed.wait()


async def hang_up(line: Line, _: Asked) -> None:
    """Break off an answer in its head."""
    await line.send("HTTP/1.1 200")


async def test_a_model_that_is_not_ready_is_asked_nothing_and_awaited() -> None:
    """A question would be answered 404 while no worker is there, as for a model that never will be."""
    waits = ((404, ""), (503, MISSING), (200, MISSING), (200, READY))
    async with serving(imitating(*waits)) as server:
        reply = await asked(backend_for(server, "chat", attempts=5, dynamo=Dynamo()))

    assert reply.text == "hello"
    assert [each.method for each in server.asked] == ["GET"] * 4 + ["POST"]
    assert {each.path for each in server.asked[:4]} == {"/v1/models/m/ready"}


async def test_what_it_waits_for_is_told() -> None:
    async with serving(imitating((200, MISSING))) as server:
        error = await refused(backend_for(server, "chat", dynamo=Dynamo()))

    assert error.failure.kind == "overloaded"
    assert error.message.endswith("has the model not ready: it waits for workers: prefill")


async def test_the_header_that_keeps_a_worker_is_a_sessions_own_and_only_dynamos() -> None:
    async with serving(imitating(*[(200, READY)] * 4)) as server:
        first = backend_for(server, "chat", dynamo=Dynamo())
        for backend in (first, first, backend_for(server, "chat", dynamo=Dynamo())):
            await asked(backend)
        await asked(backend_for(server, "chat"))

    names = [each.headers.get("x-dynamo-session-id", "") for each in server.asked if each.method == "POST"]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert names[3] == ""
    assert {len(name) for name in names[:3]} == {32}


@pytest.mark.parametrize(
    ("failing", "stays"),
    [
        (answer(500, {"message": "Failed to generate completions", "code": 500}), False),
        (answer(503, {"message": "Service temporarily unavailable", "code": 503}), False),
        (stream(data({"error": {"message": "gone", "code": 503}}), "data: [DONE]\n\n"), False),
        (answer(529, {"message": "Service temporarily overloaded", "code": 529}), True),
        (answer(429, {"message": "slow down", "code": 429}), True),
    ],
    ids=["500", "503", "in mid-stream", "overload", "quota"],
)
async def test_a_session_whose_worker_may_be_gone_binds_itself_to_another(
    failing: Any, *, stays: bool
) -> None:
    """A worker that has too much to do still has the conversation in its cache."""
    plays = [answer(200, READY), failing, answer(200, READY), Saying(text="hello").play("chat")]
    async with serving(*plays) as server:
        reply = await asked(backend_for(server, "chat", attempts=2, dynamo=Dynamo()))

    names = [each.headers["x-dynamo-session-id"] for each in server.asked if each.method == "POST"]
    assert reply.text == "hello"
    assert (len(names), names[0] == names[1], len(names[1])) == (2, stays, 32)


TOO_LONG = {"message": "the prompt is too long: 9 tokens, maximum context length is 8", "code": 500}
TEMPLATE = {"message": "conversation roles must alternate user and assistant roles", "code": 500}


@pytest.mark.parametrize("said", [TEMPLATE, TOO_LONG], ids=["template", "too long"])
async def test_a_worker_that_refuses_a_question_keeps_the_session(said: dict[str, object]) -> None:
    """It lives, and has the conversation in its cache; the twin is the 500 that names no question."""
    hello = [answer(200, READY), Saying(text="hello").play("chat")]
    plays = [*hello, answer(200, READY), answer(500, said), *hello, *hello]
    async with serving(*plays) as server:
        backend = backend_for(server, "chat", dynamo=Dynamo())
        await backend.ask(TALK, ())
        with suppress(ModelServerError):  # too long; with what the template wants, it is asked again
            await backend.ask(TALK, ())
        await asked(backend)

    names = {each.headers["x-dynamo-session-id"] for each in server.asked if each.method == "POST"}
    assert len(names) == 1


@pytest.mark.parametrize(
    "unready", [answer(503, MISSING), answer(500, ""), hang_up], ids=["503", "500", "cut"]
)
async def test_a_frontend_that_is_not_ready_keeps_the_session_with_its_worker(unready: Any) -> None:
    """Nothing was asked of the worker."""
    hello = [answer(200, READY), Saying(text="hello").play("chat")]
    async with serving(*hello, unready, *hello) as server:
        backend = backend_for(server, "chat", attempts=2, dynamo=Dynamo())
        await backend.ask(TALK, ())
        await asked(backend)

    names = [each.headers["x-dynamo-session-id"] for each in server.asked if each.method == "POST"]
    assert (len(names), len(set(names))) == (2, 1)


@pytest.mark.parametrize("bound", ["silence_seconds", "timeout_seconds"])
async def test_a_worker_that_hangs_is_left(bound: str) -> None:
    """Under the same name each try would go to it."""
    plays = [answer(200, READY), hang, answer(200, READY), Saying(text="hello").play("chat")]
    async with serving(*plays) as server:
        patience = {bound: 3.0}
        reply = await asked(backend_for(server, "chat", attempts=2, dynamo=Dynamo(), **patience))

    names = [each.headers["x-dynamo-session-id"] for each in server.asked if each.method == "POST"]
    assert (reply.text, len(names), len(set(names))) == ("hello", 2, 2)


@pytest.mark.parametrize(
    ("details", "rate", "cached"),
    [
        ({"cached_tokens": 30}, 0.9, 30),
        ({"cached_tokens": 0}, 0.9, 90),
        ({}, 2, 0),
        ({}, "0.5", 0),
        (None, 0.5, 50),
    ],
)
def test_the_routers_share_is_taken_where_the_engine_counts_nothing(
    details: object, rate: object, cached: int
) -> None:
    """Workers that prefill apart count 0 as cached, whatever was."""
    reader = ChatReader()
    reader.take({"choices": [], "nvext": {"timing": {"kv_hit_rate": rate}}})
    reader.take({"choices": [], "usage": {"prompt_tokens": 100, "prompt_tokens_details": details}})

    assert reader.pieces.usage is not None
    assert reader.pieces.usage.cached_tokens == cached


def configured(folder: Path, block: str) -> Path:
    """Return a configuration of one model."""
    file = folder / "config.yaml"
    file.write_text(f"version: 1\nmodels:\n  d: {{backend: openai, model: m, dynamo: {block}}}\n")
    return file


def test_the_hints_are_configured(tmp_path: Path) -> None:
    model = read_configuration(configured(tmp_path, "{priority: 5, expected_output: 4k}")).models["d"]

    assert isinstance(model, OpenAIModel)
    assert model.dynamo == Dynamo(priority=5, expected_output=Count(4000))


@pytest.mark.parametrize(
    "block", ["{priority: high}", "{osl: 3}", "{priority: 9999}", "{expected_output: -1}"]
)
def test_hints_that_are_none_are_refused_with_their_place(tmp_path: Path, block: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_configuration(configured(tmp_path, block))

    assert "config.yaml:3:" in str(caught.value)
