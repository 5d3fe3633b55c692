"""What a model thought goes back to its server as it came, over Anthropic's messages, and to nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.aloud import Spoken, Step, TextTold
from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import ModelMessage, Reply, Thought, UserMessage
from agent_runner.backends.choice import Choice
from agent_runner.backends.estimate import tokens
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.messages_wire import MessagesReader, wire_message
from agent_runner.backends.thoughts import MAXIMUM_SEALED
from tests.contract.asking import TALK, TOOL, after, asked, backend_for
from tests.contract.model_server import Saying, answer, event, serving, stream

if TYPE_CHECKING:
    from tests.contract.model_server import Asked, Line

Block = dict[str, Any]
FIRST = {"type": "thinking", "thinking": "First, look.", "signature": "EqQBsig+first=="}
SEALED = {"type": "redacted_thinking", "data": "EmwKAhgB+sealed=="}
HIDDEN = {"type": "thinking", "thinking": "", "signature": "EqQBsig+hidden=="}
SAID: list[Block] = [
    FIRST,
    {"type": "text", "text": "I look. "},
    SEALED,
    {"type": "text", "text": "And again."},
    HIDDEN,
    {"type": "tool_use", "id": "toolu_1", "name": "files_list", "input": {"path": "src"}},
    {"type": "tool_use", "id": "toolu_2", "name": "files_list", "input": {"path": "tests"}},
]


def pieces(blocks: list[Block], stop: str = "tool_use") -> list[str]:
    """Return blocks as Anthropic streams them: each begun empty, then its pieces."""
    parts = [event({"type": "message_start", "message": {"usage": {"input_tokens": 9}}})]
    for index, block in enumerate(blocks):
        empty = {
            "thinking": {"type": "thinking", "thinking": "", "signature": ""},
            "text": {"type": "text", "text": ""},
            "tool_use": {**block, "input": {}},
        }.get(block["type"], block)
        parts.append(event({"type": "content_block_start", "index": index, "content_block": empty}))
        parts += [event(_delta(index, each)) for each in _deltas(block)]
        parts.append(event({"type": "content_block_stop", "index": index}))
    delta = {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}}
    return [*parts, event(delta), event({"type": "message_stop"})]


def _delta(index: int, delta: Block) -> Block:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _deltas(block: Block) -> list[Block]:
    match block["type"]:
        case "thinking":
            halves = (block["signature"][:5], block["signature"][5:])
            thought = [{"type": "thinking_delta", "thinking": block["thinking"]}] * bool(block["thinking"])
            return [*thought, *({"type": "signature_delta", "signature": half} for half in halves)]
        case "text":
            return [{"type": "text_delta", "text": block["text"]}]
        case "tool_use":
            text = '{"path": "' + block["input"]["path"] + '"}'
            return [{"type": "input_json_delta", "partial_json": part} for part in ("", text)]
        case _:
            return []


def whole(blocks: list[Block]) -> Block:
    """Return the same in one piece."""
    usage = {"input_tokens": 9, "output_tokens": 7}
    return {
        "type": "message",
        "role": "assistant",
        "content": blocks,
        "stop_reason": "tool_use",
        "usage": usage,
    }


@pytest.mark.parametrize("streams", [True, False])
async def test_a_turn_goes_back_block_for_block_as_it_came(*, streams: bool) -> None:
    play = stream(*pieces(SAID)) if streams else answer(200, whole(SAID))
    async with serving(play) as server:
        backend = backend_for(server, "messages", stream=streams)
        first = await backend.ask(TALK, (TOOL,))
        await asked(backend, (*TALK, *after(first, "a.py", "b.py")))

    assert first.text == "I look. And again."
    assert server.asked[1].json["messages"][1] == {"role": "assistant", "content": SAID}


async def test_another_model_is_shown_none_of_it() -> None:
    """As after a route went on to the next: a thought is sealed to the model that had it."""
    plays = [stream(*pieces(SAID))] * 2
    async with serving(*plays, Saying(text="Yes.").play("chat")) as server:
        first = await asked(backend_for(server, "messages"))
        await asked(backend_for(server, "messages", model="other"), (*TALK, *after(first, "a", "b")))
        await asked(backend_for(server, "chat"), (*TALK, *after(first, "a", "b")))

    sent = server.asked[1].json["messages"][1]["content"]
    assert [block["type"] for block in sent] == ["text", "tool_use", "tool_use"]
    assert b"sig+" not in server.asked[1].body + server.asked[2].body


async def test_a_server_that_refuses_thoughts_is_asked_without_them_from_then_on() -> None:
    """A conversation that was changed, or a server that gives thoughts and takes none."""

    async def play(line: Line, heard: Asked) -> None:
        if b"signature" in heard.body:
            words = "messages.1.content.0: Invalid `signature` in `thinking` block."
            error = {"type": "invalid_request_error", "message": words}
            await answer(400, {"type": "error", "error": error})(line, heard)
        else:
            await stream(*pieces(SAID))(line, heard)

    async with serving(play) as server:
        backend = backend_for(server, "messages")
        assert isinstance(backend, AnthropicBackend)
        first = await backend.ask(TALK, (TOOL,))
        talk = (*TALK, *after(first, "a", "b"))
        second = await backend.ask(talk, (TOOL,))
        await backend.ask((*talk, *after(second, "c", "d")), (TOOL,))
        await backend.close()

    assert ["signature" in heard.body.decode() for heard in server.asked] == [False, True, False, False]


async def test_what_a_server_refused_where_a_tool_was_chosen_is_known_everywhere() -> None:
    """Each question with a choice is a copy's: it was refused anew each time, and so was the next without."""
    refusal = answer(400, {"error": {"message": "Invalid `signature` in `thinking` block."}})
    async with serving(stream(*pieces(SAID)), refusal, stream(*pieces(SAID))) as server:
        backend = backend_for(server, "messages")
        first = await backend.ask(TALK, (TOOL,))
        talk = (*TALK, *after(first, "a", "b"))
        for each in (*[backend.choosing(Choice(tool=TOOL.name))] * 2, backend):
            await each.ask(talk, (TOOL,))
        await backend.choosing(Choice()).ask(talk, (TOOL,))
        await backend.close()

    assert [b"signature" in heard.body for heard in server.asked] == [False, True, False, False, False, False]


async def test_a_request_that_is_wrong_without_thoughts_too_is_refused_in_its_last_words() -> None:
    refusals = [answer(400, {"error": {"message": "wrong"}})] * 2
    async with serving(stream(*pieces(SAID)), *refusals, stream(*pieces(SAID))) as server:
        backend = backend_for(server, "messages")
        first = await backend.ask(TALK, (TOOL,))
        talk = (*TALK, *after(first, "a", "b"))
        with pytest.raises(ModelServerError, match="wrong"):
            await backend.ask(talk, (TOOL,))
        await backend.ask(talk, (TOOL,))
        await backend.close()

    assert b"signature" in server.asked[3].body, "thoughts were not what it refused"


@pytest.mark.parametrize("heard", [True, False])
async def test_a_reply_that_was_told_in_part_is_not_asked_for_again_without_thoughts(*, heard: bool) -> None:
    """A refusal within the stream, behind words: whoever heard them would hear a second reply behind them."""
    error = {"type": "invalid_request_error", "code": 400, "message": "filtered"}
    begun = pieces([{"type": "text", "text": "Half a reply"}], "end_turn")[:3]
    late = stream(*begun, event({"type": "error", "error": error}))
    told: list[Step | Spoken] = []

    async def tell(step: Step | Spoken) -> None:
        told.append(step)

    async with serving(stream(*pieces(SAID)), late, Saying(text="Yes.").play("messages")) as server:
        backend = backend_for(server, "messages")
        first = await backend.ask(TALK, (TOOL,))
        question = backend.ask_aloud((*TALK, *after(first, "a", "b")), (TOOL,), tell if heard else None)
        if heard:
            with pytest.raises(ModelServerError, match="filtered") as caught:
                await question
            assert caught.value.failure.told
        else:
            assert (await question).text == "Yes."
        await backend.close()

    assert [step.text for step in told if isinstance(step, TextTold)] == ["Half a reply"] * heard
    assert len(server.asked) == 3 - heard


@pytest.mark.parametrize(
    ("blocks", "stop"),
    [
        ([{**FIRST, "signature": "x" * (MAXIMUM_SEALED + 1)}, *SAID[1:]], "tool_use"),
        ([{**FIRST, "signature": "\U0001f600" * (MAXIMUM_SEALED // 4)}, *SAID[1:]], "tool_use"),
        ([{**FIRST, "signature": '"' * (MAXIMUM_SEALED // 4)}, *SAID[1:]], "tool_use"),
        ([FIRST] * 200 + SAID[-2:], "tool_use"),
        (SAID, "max_tokens"),
    ],
    ids=["too long", "too long in bytes", "too long as spelled", "too many", "cut"],
)
async def test_thoughts_beyond_a_bound_or_cut_do_not_go_back(blocks: list[Block], stop: str) -> None:
    async with serving(stream(*pieces(blocks, stop))) as server:
        reply = await asked(backend_for(server, "messages"))

    assert len(reply.calls) == 2
    assert reply.thoughts == ()


def test_a_seal_is_counted_where_a_server_counts_nothing() -> None:
    """A thought that is not shown is all in its seal."""
    reader = MessagesReader()
    reader.take(
        {"type": "content_block_start", "index": 0, "content_block": {**HIDDEN, "signature": "x" * 400}}
    )
    reader.take({"type": "content_block_delta", "index": 0, "delta": {"signature": "y" * 4000}})
    reader.take({"type": "content_block_start", "index": 1, "content_block": {**SEALED, "data": "z" * 4000}})
    reader.take({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})

    reply = reader.pieces.reply(set(), sent_tokens=lambda: 1)

    assert (reply.usage.output_tokens, reply.usage.estimated) == (tokens(8400), True)
    assert len(reader.thoughts("m")) == 2


async def test_half_a_pair_in_a_thought_can_be_sent() -> None:
    """What no UTF-8 has is an escape, as everywhere."""
    block = event({"type": "content_block_start", "index": 0, "content_block": FIRST})
    broken = block.replace("First", "\\ud800")
    async with serving(stream(broken, *pieces([SAID[1]], "end_turn")[1:])) as server:
        backend = backend_for(server, "messages")
        first = await backend.ask(TALK, (TOOL,))
        await asked(backend, (*TALK, ModelMessage(reply=first), UserMessage(text="on")))

    assert server.asked[1].json["messages"][1]["content"][0]["thinking"] == "\\ud800, look."


def test_places_that_are_beyond_the_reply_lose_nothing_of_it() -> None:
    """A reply that was bounded since is shorter than the thoughts say."""
    thought = Thought(by="m", sealed='{"type": "redacted_thinking", "data": "x"}', characters=900, calls=9)
    wire = wire_message(ModelMessage(reply=Reply(text="short", thoughts=(thought,))), by="m")

    assert wire is not None
    assert wire["content"] == [
        {"type": "text", "text": "short"},
        {"type": "redacted_thinking", "data": "x"},
    ]
