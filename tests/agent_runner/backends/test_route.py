"""Several models as one: the first that answers goes on answering."""

from __future__ import annotations

import pytest

from agent_runner.backends.backend import UserMessage
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.retry import Patience
from agent_runner.backends.route import RouteBackend
from agent_runner.backends.server import Server
from tests.contract.model_server import ModelServer, Saying, answer, serving

TALK = (UserMessage(text="x"),)
DOWN = answer(401, {"error": {"message": "no"}})


def route(told: list[str], *servers: ModelServer) -> RouteBackend:
    """Return a route over servers, called 0, 1 …."""
    models = [
        OpenAIBackend(
            Server(base_url=server.base_url("chat"), model="m"),
            name=str(number),
            patience=Patience(attempts=1),
        )
        for number, server in enumerate(servers)
    ]
    return RouteBackend(models, name="r", notice=told.append)


async def test_the_next_model_answers_for_one_that_does_not_and_goes_on() -> None:
    told: list[str] = []
    back = Saying(text="one is back").play("chat")
    async with serving(DOWN, back) as one, serving(Saying(text="two").play("chat")) as two:
        models = route(told, one, two)
        names = [models.model]
        texts = [(await models.ask(TALK, ())).text for _ in range(3)]
        names.append(models.model)
        await models.close()

    assert texts == ["two", "two", "two"]
    assert names == ["r > 0 (m)", "r > 1 (m)"]
    assert len(one.asked) == 1
    assert told == [f"0 (m): `127.0.0.1:{one.port}` answered 401: no"]


async def test_a_route_comes_round_to_the_first_again() -> None:
    busy = Saying(text="two").play("chat")
    back = Saying(text="one is back").play("chat")
    async with serving(DOWN, back) as one, serving(busy, DOWN) as two:
        models = route([], one, two)
        texts = [(await models.ask(TALK, ())).text for _ in range(2)]
        await models.close()

    assert texts == ["two", "one is back"]


async def test_when_none_answers_the_last_one_is_told() -> None:
    async with serving(DOWN) as one, serving(answer(503, "later")) as two:
        models = route([], one, two)
        with pytest.raises(ModelServerError) as caught:
            await models.ask(TALK, ())
        await models.close()

    assert caught.value.message == (
        f"none of 2 models answered; the last: `127.0.0.1:{two.port}` answered 503: later"
    )
    assert caught.value.failure.kind == "overloaded"
