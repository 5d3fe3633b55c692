"""Several models as one: by weight, by role, and the first that answers goes on answering."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.aloud import CallTold, Counting, Spoken, TextTold
from agent_runner.backends.backend import Reply, Tried, UserMessage
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.installed import InstalledBackend
from agent_runner.backends.retry import Patience
from agent_runner.backends.route import RouteBackend, for_role
from agent_runner.backends.server import Server
from agent_runner.errors import BackendError
from tests.agent_runner.stand import FINISH, Model, lines, saying
from tests.contract.model_server import ModelServer, Saying, answer, serving, stream

if TYPE_CHECKING:
    from agent_runner.backends.aloud import Step, Tell
    from tests.agent_runner.stand import Stand

TALK = (UserMessage(text="x"),)
DOWN = answer(401, {"error": {"message": "no"}})


def route(told: list[str], *servers: ModelServer) -> RouteBackend:
    """Return a route over servers, called 0, 1 …."""
    models = {
        str(number): OpenAIBackend(
            Server(base_url=server.base_url("chat"), model="m"),
            name=str(number),
            patience=Patience(attempts=1),
        )
        for number, server in enumerate(servers)
    }
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


@pytest.mark.parametrize("long_first", [True, False])
async def test_one_that_says_that_the_conversation_is_too_long_is_heard_whoever_fails_last(
    *, long_first: bool
) -> None:
    """An agent shortens it when it hears so; a key that is wrong is nothing that it could mend."""
    long = answer(400, {"error": {"message": "maximum context length is 9 tokens"}})
    servers = (long, DOWN) if long_first else (DOWN, long)
    async with serving(servers[0]) as one, serving(servers[1]) as two:
        models = route([], one, two)
        with pytest.raises(ModelServerError) as caught:
            await models.ask(TALK, ())
        await models.close()

    which = "one of them" if long_first else "the last"
    port = one.port if long_first else two.port
    assert caught.value.failure.too_long
    assert caught.value.message == (
        f"none of 2 models answered; {which}: `127.0.0.1:{port}` answered 400: "
        "maximum context length is 9 tokens"
    )


async def test_a_route_comes_round_to_the_first_again() -> None:
    busy = Saying(text="two").play("chat")
    back = Saying(text="one is back").play("chat")
    async with serving(DOWN, back) as one, serving(busy, DOWN) as two:
        models = route([], one, two)
        texts = [(await models.ask(TALK, ())).text for _ in range(2)]
        await models.close()

    assert texts == ["two", "one is back"]


@pytest.mark.parametrize("half", range(1, 6))
async def test_of_a_reply_that_breaks_off_nothing_is_in_the_one_that_the_next_model_gives(half: int) -> None:
    """Wherever it breaks: its words, its call's name, its arguments."""
    calls = [("a1", "files_list", '{"path": "one"}')]
    broken = Saying(text="half an answer", calls=calls).pieces("chat")[:half]
    async with serving(stream(*broken)) as one, serving(Saying(text="two").play("chat")) as two:
        models = route([], one, two)
        reply = await models.ask(TALK, ())
        await models.close()

    assert (reply.text, reply.calls, reply.by) == ("two", (), "r > 1 (m)")
    assert [tried.model for tried in reply.tried] == ["r > 0 (m)"]


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


def named(name: str) -> Model:
    """Return a model that says its own name."""
    model = Model(lambda _, __: Reply(text=name))
    model.model = name
    return model


def of(*names: str, **settings: Any) -> RouteBackend:
    """Return a route over models that say their names."""
    return RouteBackend({name: named(name) for name in names}, name="r", notice=str, **settings)


async def test_the_first_is_drawn_by_weight_and_stays() -> None:
    weights = {"b": 3, "c": 1}
    drawn = Counter(
        [of("a", "b", "c", weights=weights, chance=lambda n=n: n / 100).model for n in range(100)]  # type: ignore[misc]  # bound at once
    )
    route = of("a", "b", "c", weights=weights, chance=lambda: 0.8)

    texts = [(await route.ask(TALK, ())).text for _ in range(3)]

    assert drawn == {"r > b": 75, "r > c": 25}
    assert texts == ["c", "c", "c"]


async def test_a_role_has_a_model_of_its_own_and_changes_nothing_for_the_others() -> None:
    route = of("a", "b", roles={"small": "b"})

    small = for_role(route, "small")
    texts = [(await each.ask(TALK, ())).text for each in (small, route, for_role(route, "main"))]

    assert texts == ["b", "a", "a"]
    lone = named("x")
    assert for_role(lone, "small") is lone


async def test_a_reply_says_who_gave_it_and_who_did_not() -> None:
    async with serving(DOWN) as one, serving(Saying(text="two").play("chat")) as two:
        models = route([], one, two)
        first, second = [await models.ask(TALK, ()) for _ in range(2)]
        await models.close()

    why = f"`127.0.0.1:{one.port}` answered 401: no"
    assert (first.by, first.tried) == ("r > 1 (m)", (Tried(model="r > 0 (m)", error=why),))
    assert (second.by, second.tried) == ("r > 1 (m)", ())


class Breaking(Model):
    """Another package's backend, which says some of a reply and fails; `aloud.AloudBackend`."""

    def __init__(self, *steps: Step | Spoken) -> None:
        super().__init__(lambda _, __: Reply(text=""))
        self._steps = steps

    async def ask_aloud(self, _: object, __: object, tell: Tell | None) -> Reply:
        """Say it, and fail."""
        assert tell is not None
        for step in self._steps:
            await tell(step)
        raise LookupError("gone")


@pytest.mark.parametrize("step", [TextTold(text="It"), CallTold(call_id="a", name="t")])
async def test_no_other_model_is_asked_once_any_backend_has_told_something(step: Step) -> None:
    """What an agent has read cannot be taken back; an installed backend's error does not say that it did."""
    heard: list[Step | Spoken] = []

    async def hear(step: Step | Spoken) -> None:
        heard.append(step)

    second = named("two")
    first = InstalledBackend(Breaking(step), kind="other")
    route = RouteBackend({"1": first, "2": second}, name="r", notice=str)

    with pytest.raises(BackendError, match="the backend `other` failed: LookupError: gone") as caught:
        await route.ask_aloud(TALK, (), hear)

    assert caught.value.tried == ()
    assert (heard, second.heard) == ([step], [])


@pytest.mark.parametrize("steps", [(), (Spoken(characters=9),)])
async def test_the_next_model_is_asked_where_nothing_was_told(steps: tuple[Spoken, ...]) -> None:
    """The twin: what a model only thought was told to nobody."""
    heard: list[Step | Spoken] = []

    async def hear(step: Step | Spoken) -> None:
        heard.append(step)

    first = InstalledBackend(Breaking(*steps), kind="other")
    route = RouteBackend({"1": first, "2": named("two")}, name="r", notice=str)

    reply = await route.ask_aloud(TALK, (), hear)

    assert (reply.text, heard) == ("two", list(steps))


async def test_the_next_model_is_asked_where_nobody_listens() -> None:
    """The twin without a stream: what is only counted was told to nobody."""
    count = Counting()
    first = InstalledBackend(Breaking(TextTold(text="It")), kind="other")
    route = RouteBackend({"1": first, "2": named("two")}, name="r", notice=str)

    reply = await route.ask_aloud(TALK, (), count)

    assert (reply.text, count.characters) == ("two", 2)


class Cut(Model):
    """A model that makes an error of its backend's of being cancelled."""

    asking: asyncio.Event

    async def ask(self, messages: object, tools: object) -> Reply:  # noqa: ARG002 - the protocol's parameters
        """Hang."""
        self.asking.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise BackendError("cut off") from error
        raise AssertionError("nobody wakes it")


async def test_no_other_model_is_asked_once_the_question_is_cancelled() -> None:
    """The twin is any other failure: the next one is asked."""
    cut, other, told = Cut(lambda *_: FINISH), saying(FINISH), list[str]()
    cut.asking = asyncio.Event()
    asking = asyncio.create_task(
        RouteBackend({"cut": cut, "other": other}, name="r", notice=told.append).ask(TALK, ())
    )
    await asyncio.wait_for(cut.asking.wait(), 30)

    asking.cancel()
    await asyncio.wait({asking}, timeout=30)

    assert (asking.cancelled(), other.heard, told) == (True, [], [])


async def test_each_choice_is_in_the_ledger(stand: Stand) -> None:
    calls = 0

    def flaky(_: object, turn: int) -> Reply:
        nonlocal calls
        calls += 1
        if turn > 1:
            raise BackendError("gone")
        return lines("files list")

    first, second = Model(flaky), saying(FINISH)
    first.model, second.model = "one", "two"

    result = await stand.run(RouteBackend({"1": first, "2": second}, name="r", notice=str))

    assert result.status == "done"
    assert [entry["model"] for entry in stand.entries("model.answered")] == ["r > one", "r > two"]
    failed = stand.entries("model.failed")
    assert [(e["model"], e["error"], e["turn"], e["will_retry"]) for e in failed] == [
        ("r > one", "gone", 2, True)
    ]


async def test_when_all_fail_each_is_in_the_ledger(stand: Stand) -> None:
    one, two = saying(), saying()
    one.model, two.model = "one", "two"

    result = await stand.run(RouteBackend({"1": one, "2": two}, name="r", notice=str))

    assert (result.exit_code, result.reason) == (
        7,
        "none of 2 models answered; the last: the model has nothing more to say",
    )
    told = [(e["model"], e["attempt"], e["will_retry"]) for e in stand.entries("model.failed")]
    assert told == [("r > one", 1, True), ("r > two", 2, True), ("r > one", 3, False)]
