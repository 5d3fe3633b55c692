"""Servers that refuse a conversation until it has what their model's template wants."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import Message, ModelMessage, Reply, Thought, UserMessage
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.retry import Patience
from agent_runner.backends.server import Server
from agent_runner.compaction import compacted
from tests.contract.asking import TALK, TOOL, after, backend_for, never_sleep
from tests.contract.asking import asked as asked_once
from tests.contract.model_server import Saying, answer, data, event, serving, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.model_server import Asked, Line, ModelServer

DONE = data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + "data: [DONE]\n\n"
CALLS = stream(
    data({"choices": [{"index": 0, "delta": {"reasoning_content": "Let me "}}]}),
    data({"choices": [{"index": 0, "delta": {"reasoning_content": "look."}}]}),
    *Saying(calls=[("a1", "files_list", '{"path": "src"}')]).pieces("chat"),
)
NOTE = UserMessage(text="80 % of the budget is used")


def with_missing_thoughts(asked: Asked) -> str:
    """Return what DeepSeek and Kimi say of a conversation without what the model thought; else nothing."""
    replies = [each for each in asked.json["messages"] if each["role"] == "assistant"]
    lacks = [number for number, each in enumerate(replies) if not each.get("reasoning_content")]
    return "The `reasoning_content` in the thinking mode must be passed back to the API." * bool(lacks)


def without_alternation(asked: Asked) -> str:
    """Return what Mistral's servers say of a user's message that follows a tool's, or another user's."""
    roles = [each["role"] for each in asked.json["messages"]]
    wrong = {("tool", "user"), ("user", "user")} & set(pairwise(roles))
    return "Unexpected role 'user' after role 'tool'" * bool(wrong)


def routed(words: str) -> dict[str, object]:
    """Return an error as OpenRouter tells a provider's."""
    raw = json.dumps({"error": {"message": words, "type": "invalid_request_error"}})
    return {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}


def strict(wrong: Callable[[Asked], str], status: int = 400, *, by_router: bool = False) -> Any:
    """Return a play that refuses what is wrong, calls a tool first, and then says a word."""

    async def play(line: Line, asked: Asked) -> None:
        if words := wrong(asked):
            error = routed(words) if by_router else {"message": words, "code": status}
            await answer(status, {"error": error})(line, asked)
        elif len(asked.json["messages"]) == len(TALK):
            await CALLS(line, asked)
        else:
            await stream(*Saying(text="Done.").pieces("chat"))(line, asked)

    return play


def backend(server: ModelServer, notices: list[str] | None = None) -> OpenAIBackend:
    """Return a backend that tries three times what may pass."""
    told = [] if notices is None else notices
    waits = Patience(attempts=3, sleep=never_sleep, notice=told.append)
    return OpenAIBackend(Server(base_url=server.base_url("chat"), model="m"), name="d", patience=waits)


async def conversation(asked: OpenAIBackend, *more: Message) -> tuple[Reply, Reply]:
    """Ask twice, with a call between and what the runner has to say behind it; then once more."""
    first = await asked.ask(TALK, (TOOL,))
    talk = (*TALK, *after(first, "a.py"), *more)
    second = await asked.ask(talk, (TOOL,))
    third = await asked.ask((*talk, *after(second), NOTE), (TOOL,))
    await asked.close()
    return second, third


@pytest.mark.parametrize("by_router", [False, True])
async def test_what_was_thought_goes_back_to_a_server_that_asks_for_it(*, by_router: bool) -> None:
    notices: list[str] = []
    async with serving(strict(with_missing_thoughts, by_router=by_router)) as server:
        second, third = await conversation(backend(server, notices))

    heard = [[m for m in asked.json["messages"] if m["role"] == "assistant"] for asked in server.asked]
    assert (second.text, third.text) == ("Done.", "Done.")
    assert [[m.get("reasoning_content") for m in each] for each in heard] == [
        [],
        [None],
        ["Let me look."],
        ["Let me look.", "(nothing)"],  # Kimi takes an empty one for none
    ]
    assert len(notices) == 1
    assert notices[0].endswith("asking again with what it wants")


async def test_what_another_model_thought_is_shown_to_none_that_asks_for_thoughts() -> None:
    """As after a route went on to the next; the seal of a model of Anthropic's holds its words as well."""
    thinks = event({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}})
    sealed = event({"type": "content_block_delta", "index": 0, "delta": {"thinking": "Sealed."}})
    begun, *rest = Saying(calls=[("a2", "files_list", "{}")]).pieces("messages")
    claude, play = stream(begun, thinks, sealed, *rest), strict(with_missing_thoughts)
    async with serving(claude) as other, serving(play) as server:
        first = await asked_once(backend_for(other, "messages"))
        talk = (*TALK, *after(first, "a.py"))
        second = await asked_once(backend_for(server, "chat", model="k2"), talk)
        talk = (*talk, *after(second), NOTE)
        await asked_once(backend_for(server, "chat", model="k2"), talk)
        its_own = await asked_once(backend_for(server, "chat", model="k2"), TALK)
        await asked_once(backend_for(server, "chat", model="v3"), (*TALK, *after(its_own, "a.py")))

    assert (first.reasoning, its_own.reasoning) == ("Sealed.", "Let me look.")
    assert b"Sealed." not in b"".join(heard.body for heard in server.asked)
    assert [
        m["reasoning_content"] for m in server.asked[-1].json["messages"] if m["role"] == "assistant"
    ] == ["(nothing)"]


async def test_what_was_thought_goes_to_nobody_who_does_not_ask() -> None:
    async with serving(strict(lambda _: "")) as server:
        await conversation(backend(server))

    assert b"reasoning_content" not in b"".join(asked.body for asked in server.asked)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Unexpected role 'user' after role 'tool'"),
        (400, "After the optional system message, conversation roles must alternate user/assistant/…"),
        (500, "Jinja Exception: conversation roles must alternate user and assistant roles"),
    ],
)
async def test_a_template_whose_roles_alternate_has_a_reply_between(status: int, words: str) -> None:
    """A warning of the runner's stands behind a tool's result, and two may stand behind each other."""
    async with serving(strict(lambda asked: words * bool(without_alternation(asked)), status)) as server:
        second, third = await conversation(backend(server), NOTE, NOTE)

    assert (second.text, third.text) == ("Done.", "Done.")
    roles = [[each["role"] for each in asked.json["messages"]] for asked in server.asked]
    assert roles[1] == ["system", "user", "assistant", "tool", "user", "user"]
    assert roles[2] == ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"]
    assert roles[3] == [*roles[2], "assistant", "user"]
    assert server.asked[3].json["messages"][:8] == server.asked[2].json["messages"]
    assert len(roles) == 4, "what is wanted is asked for once, and not tried as an overload is"


@pytest.mark.parametrize("words", ["`reasoning_content` is missing", "roles must alternate"])
async def test_a_server_that_refuses_all_the_same_is_asked_no_third_time(words: str) -> None:
    async with serving(answer(400, {"error": {"message": words}})) as server:
        asked = backend(server)
        with pytest.raises(ModelServerError) as caught:
            await asked.ask(TALK, (TOOL,))
        await asked.close()

    assert words in caught.value.message
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "`reasoning_content` is no field of ours"),
        (400, "a request must not hold reasoning_content"),
        (403, "`reasoning_content` must be passed back"),
    ],
)
async def test_a_refusal_that_only_names_thoughts_asks_for_none(status: int, words: str) -> None:
    async with serving(answer(status, {"error": {"message": words}})) as server:
        asked = backend(server)
        with pytest.raises(ModelServerError):
            await asked.ask(TALK, (TOOL,))
        await asked.close()

    assert len(server.asked) == 1


async def test_what_did_not_help_is_not_sent_from_then_on() -> None:
    """A server may refuse for another reason than the one that it names."""
    refusals = [answer(400, {"error": {"message": "`reasoning_content` is missing"}})] * 2
    async with serving(*refusals, stream(*Saying(text="Done.").pieces("chat"))) as server:
        asked = backend(server)
        talk = (*TALK, ModelMessage(reply=Reply(text="Hm.")), NOTE)
        with pytest.raises(ModelServerError):
            await asked.ask(talk, (TOOL,))
        await asked.ask(talk, (TOOL,))
        await asked.close()

    assert [b"reasoning_content" in heard.body for heard in server.asked] == [False, True, False]


async def test_what_a_provider_said_is_told_where_a_router_stands_between() -> None:
    """OpenRouter's own words say nothing: the provider's stand in a member beside them."""
    async with serving(answer(400, {"error": routed("the tool has no name")})) as server:
        asked = backend(server)
        with pytest.raises(ModelServerError) as caught:
            await asked.ask(TALK, (TOOL,))
        await asked.close()

    assert caught.value.message.endswith("answered 400: Provider returned error: the tool has no name")


def test_a_shortened_conversation_keeps_no_thoughts() -> None:
    """They are sealed to what stood before them: a server refuses them behind anything else."""
    thought = Thought(by="m", sealed="{}", characters=0, calls=0)
    reply = ModelMessage(reply=Reply(text="x" * 10, thoughts=(thought,)))
    talk = (*TALK, reply, UserMessage(text="on"), reply)

    shorter = compacted(talk, kept_turns=2, most_characters=10_000)

    assert [m.reply.thoughts for m in shorter if isinstance(m, ModelMessage)] == [(), ()]
